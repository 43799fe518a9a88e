"""`kok assets`: what the assets folder holds, and making what is missing. A thin face of meta_cluster.assets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from meta_cluster.assets.recipe import Asset

app = typer.Typer(no_args_is_help=True, help="Binaries, images and host packages: found in the assets folder, downloaded, or built.")


def _table() -> dict[str, Asset]:
    from meta_cluster.assets.table import table
    from meta_cluster.lab.machine_images import lab_assets

    return table() | lab_assets()


@app.command(short_help="Download or build what is missing.")
def ensure(
    names: Annotated[list[str] | None, typer.Argument(help="Assets to make sure of; none means all but those on demand.")] = None,
    way: Annotated[
        str, typer.Option("--way", help="auto, download or build; default $KOK_ASSETS_WAY, else auto.", show_default=False)
    ] = "",
) -> None:
    """Download (where upstream publishes a file whose sha256 is pinned) or build what is missing. Safe to interrupt, and to run twice at once.

    Examples:

      kok assets ensure kube-apiserver-1.35.4 etcd-3.6.8

      kok assets ensure --way build
    """
    from meta_cluster.assets.builder import Builder
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.assets.official import way_of

    assets, asked = _table(), way_of(way)
    wanted = names or [name for name, asset in assets.items() if not asset.on_demand]
    for name, path in Builder(AssetsFolder(), assets, way=asked).ensure(wanted).items():
        print(f"{name}\t{path}")


@app.command(short_help="Write down the sha256 of every release file.")
def pin(
    output: Annotated[str, typer.Option("--file", help="Where to write; default pins.json in the assets folder.", show_default=False)] = "",
    only: Annotated[list[str] | None, typer.Option("--only", help="kok, kubernetes, etcd or kind; repeatable. Default: all.")] = None,
) -> None:
    """Ask the release servers for the sha256 of every file, and write them down: from then on these files may be downloaded.

    Compare them with a second source before you commit them: a digest from the server of the file proves nothing about that server.
    kok's own files are asked for where KOK_RELEASES says who has them (kok assets publish).

    Examples:

      kok assets pin --file meta_cluster/assets/pins.json

      KOK_RELEASES=https://files.example.org/kok kok assets pin --only kok
    """
    from meta_cluster.assets.download import published_pins
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.assets.official import add_pins, releases_named

    path = Path(output) if output else AssetsFolder().root / "pins.json"
    asked = releases_named(only or ())
    pins = published_pins(file for asset in _table().values() for file in asset.releases if file.release in asked)
    add_pins(path, pins)
    print(f"{len(pins)} files are pinned in {path}")


@app.command(short_help="Lay out a release of kok's own files.")
def publish(
    folder: Annotated[Path, typer.Argument(help="Where to; a web server then serves it as KOK_RELEASES.")],
    names: Annotated[list[str] | None, typer.Argument(help="Assets; none means all but those on demand.")] = None,
) -> None:
    """Lay out what is in the assets folder as a release: one file per asset and SHA256SUMS, in a folder of kok's version.

    With KOK_RELEASES set to the address of FOLDER, and its files pinned, nothing is built or asked of apt: all of it is downloaded.

    Example: kok assets publish /srv/www/kok
    """
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.assets.publish import publish as lay_out

    assets = _table()
    wanted = names or [name for name, asset in assets.items() if not asset.on_demand and not asset.is_of_tree]
    sums = lay_out(AssetsFolder(), assets, wanted, folder)
    print(f"{len(wanted)} assets are in {sums.parent}")


@app.command("list")
def list_assets(output: Annotated[str, typer.Option("--output", "-o", help="wide, json, yaml or name.")] = "wide") -> None:
    """List all assets and how each came.

    `-` stands for those that are not there yet.

    Example: kok assets list -o json
    """
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.cli.output import Output, output_named, structured

    wanted = output_named(output)
    index, assets = AssetsFolder().index(), _table()
    if wanted in (Output.Json, Output.Yaml):
        print(structured({name: asdict(index[name]) if name in index else None for name in assets}, wanted))
    elif wanted is Output.Name:
        print("\n".join(assets))
    else:
        print(f"{'NAME':<34}{'VERSION':<10}{'HOW':<12}PATH")
        for name, asset in assets.items():
            entry = index.get(name)
            print(f"{name:<34}{asset.version:<10}{entry.how if entry else '-':<12}{entry.path if entry else asset.path}")


@app.command()
def verify() -> None:
    """Check assets against their sha256.

    The exit code is 1 if one is damaged.

    Example: kok assets verify
    """
    from meta_cluster.assets.folder import AssetsFolder

    folder = AssetsFolder()
    damaged = [name for name in folder.index() if not folder.is_whole(name)]
    for name in damaged:
        print(f"damaged: {name}    kok assets ensure {name}")
    if damaged:
        raise typer.Exit(1)
    print(f"{len(folder.index())} assets are whole")


if __name__ == "__main__":
    app()
