"""`kok lab`: a whole fleet on one machine. A thin face of meta_cluster.lab; every command may be repeated."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.console import tell
from meta_cluster.cli.output import Output, output_named, structured
from operators.errors import ErrorCode, KokError

if TYPE_CHECKING:
    from meta_cluster.lab.hosts import Host
    from meta_cluster.lab.lifecycle import LabStatus

app = typer.Typer(no_args_is_help=True, help="A meta cluster (kind) and hosts (containers with systemd and sshd) on this machine.")
host_app = typer.Typer(no_args_is_help=True, help="Hosts of the lab, and what can happen to hosts.")
app.add_typer(host_app, name="host")

NOTICED = "hosts of the lab are looked at every 10 s; a look without an answer ends after 20 s. Watch: kok get machines -n NAMESPACE -w"
Name = Annotated[str, typer.Argument(help="The host's name.")]
INTERRUPTED = 130
INTERRUPTED_UP = """interrupted; what was made stays: assets, and containers and networks with the lab's label (kok lab status)
  go on      kok lab up, with the same options: it does only what is missing
  take away  kok lab down; the assets folder stays, so the next up is quick"""


def _status_output(word: str) -> Output:
    return output_named(word or Output.Wide, Output.Wide, Output.Json, Output.Yaml)


def _host_output(word: str) -> Output:
    return output_named(word or Output.Wide)


OutputOption = Annotated[str, typer.Option("--output", "-o", help="wide, json, yaml or name.", callback=_host_output)]
StatusOutputOption = Annotated[str, typer.Option("--output", "-o", help="wide, json or yaml.", callback=_status_output)]


@app.command()
def up(
    dev: Annotated[bool, typer.Option("--dev", help="Run the operators from this work tree (mounted at /kok-src).")] = False,
    node_image: Annotated[str | None, typer.Option(envvar="KOK_NODE_IMAGE", help="A kind node image instead of our own.")] = None,
    planes: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="VERSION", help="A further Kubernetes version for planes, e.g. 1.34.4; repeatable."),
    ] = None,
    meta_nodes: Annotated[int, typer.Option(min=1, max=5, help="Nodes of the meta cluster, at least.")] = 1,
) -> None:
    """Bring the lab up; what is up already is left alone.

    Example: kok lab up --with 1.34.4
    """
    from meta_cluster.lab import layout, lifecycle

    try:
        lifecycle.up(lifecycle.Wanted(dev=dev, node_image=node_image, planes=tuple(planes or ()), meta_nodes=meta_nodes))
    except KeyboardInterrupt:
        tell(INTERRUPTED_UP)
        raise typer.Exit(INTERRUPTED) from None
    print(layout.kubeconfig_path())


@app.command()
def down() -> None:
    """Remove exactly what carries the lab's label.

    Example: kok lab down
    """
    from meta_cluster.lab import lifecycle

    for line in lifecycle.down() or ["nothing of the lab is here"]:
        print(line)


@app.command()
def status(output: StatusOutputOption = "wide") -> None:
    """Show what of the lab is there.

    Example: kok lab status -o json
    """
    from meta_cluster.lab import lifecycle

    found = lifecycle.status()
    if output in (Output.Json, Output.Yaml):
        print(structured(_camel(asdict(found)), Output(output)))
        return
    print("\n".join(status_lines(found)))
    _show(list(found.hosts), Output.Wide)


def status_lines(found: LabStatus) -> list[str]:
    """What a person reads of it, without the hosts."""
    fenced = "hosts and pods cannot reach beyond this machine" if found.fence else "-"
    lines = {
        "docker engine": found.engine,
        "network": found.network,
        "outside world": fenced,
        "meta cluster": found.meta,
        "package version": found.package_version,
    }
    return [f"{title:<17}{value or '-'}" for title, value in lines.items()]


@app.command()
def kubeconfig() -> None:
    """Print the path of the meta cluster's kubeconfig.

    Example: export KUBECONFIG=$(kok lab kubeconfig)
    """
    from meta_cluster.lab import layout

    path = layout.kubeconfig_path()
    if not path.is_file():
        raise KokError(ErrorCode.NotFound, f"the lab has no meta cluster: {path} does not exist", "kok lab up, or make demo")
    print(path)


@host_app.command("list")
def list_hosts(output: OutputOption = "wide") -> None:
    """List hosts: name, address, state, host key.

    Example: kok lab host list -o json
    """
    from meta_cluster.lab import hosts

    _show([hosts.host(name) for name in hosts.host_names()], output)


@host_app.command()
def add(names: Annotated[list[str], typer.Argument(help="Names of the hosts.")], output: OutputOption = "wide") -> None:
    """Start hosts; those that run already are left alone.

    Example: kok lab host add demo-1 demo-2
    """
    from meta_cluster.lab import hosts, lifecycle

    image, ground = lifecycle.host_ground()
    with lifecycle.exclusive():
        _show([hosts.add(name, image=image, ground=ground) for name in names], output)


@host_app.command()
def reboot(name: Name, output: OutputOption = "wide") -> None:
    """Reboot in good order: a new boot id, the same disk.

    Example: kok lab host reboot demo-2
    """
    from meta_cluster.lab import hosts

    _show([hosts.reboot(name)], output)


@host_app.command()
def kill(name: Name, output: OutputOption = "wide") -> None:
    """Cut the power; the host stays off until it is started.

    Example: kok lab host kill demo-2
    """
    from meta_cluster.lab import hosts

    _show([hosts.kill(name)], output)
    tell(NOTICED)


@host_app.command()
def start(name: Name, output: OutputOption = "wide") -> None:
    """Power on.

    Example: kok lab host start demo-2
    """
    from meta_cluster.lab import hosts

    _show([hosts.start(name)], output)


@host_app.command()
def reinstall(name: Name, output: OutputOption = "wide") -> None:
    """Install the system anew: an empty disk and a new SSH host key.

    Example: kok lab host reinstall demo-2
    """
    from meta_cluster.lab import hosts, lifecycle

    image, ground = lifecycle.host_ground()
    with lifecycle.exclusive():
        _show([hosts.reinstall(name, image=image, ground=ground)], output)


@host_app.command()
def partition(name: Name, output: OutputOption = "wide") -> None:
    """Unplug the host from the network; it runs on.

    Example: kok lab host partition demo-2
    """
    from meta_cluster.lab import hosts

    _show([hosts.partition(name)], output)
    tell(NOTICED)


@host_app.command()
def heal(name: Name, output: OutputOption = "wide") -> None:
    """Plug it in again, with its old address.

    Example: kok lab host heal demo-2
    """
    from meta_cluster.lab import hosts

    _show([hosts.heal(name)], output)


@host_app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(name: Name, command: Annotated[list[str], typer.Argument(help="After `--`: the command and its words.")]) -> None:
    """Run a command as someone at the host's own console would.

    Example: kok lab host exec demo-1 -- systemctl stop containerd
    """
    from meta_cluster.lab import hosts

    raise typer.Exit(hosts.console(name, command))


@host_app.command()
def remove(name: Name) -> None:
    """Remove a host with its disks.

    Example: kok lab host remove demo-2
    """
    from meta_cluster.lab import hosts

    hosts.remove(name)
    print(f"host {name} removed")


def _show(found: list[Host], output: str) -> None:
    if output in (Output.Json, Output.Yaml):
        print(structured([_camel(asdict(host)) for host in found], Output(output)))
        return
    if output == Output.Name:
        print("\n".join(host.name for host in found))
        return
    wide = max([len("NAME"), *(len(host.name) for host in found)]) + 2
    if found:
        print(f"{'NAME':<{wide}}{'ADDRESS':<14}{'STATE':<13}HOST KEY")
    for host in found:
        print(f"{host.name:<{wide}}{host.address:<14}{host.state:<13}{' '.join(host.host_keys) or '-'}")


def _camel(value: object) -> object:
    """Field names as Kubernetes objects have them (`hostKeys`), so that they can be copied into a MachinePool."""
    if isinstance(value, dict):
        return {re.sub(r"_(.)", lambda match: match[1].upper(), key): _camel(inner) for key, inner in value.items()}
    return [_camel(inner) for inner in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    app()
