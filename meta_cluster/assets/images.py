"""Recipes of all images but kok's own: upstream's names around binaries that were built here. No recipe runs anything in a container.

What upstream's images lack, ours lack too: no shell in etcd and the Kubernetes components, so nothing works here that fails in production.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta_cluster.assets import versions as v
from meta_cluster.assets.debian import C_COMPILER, install_tools
from meta_cluster.assets.oci import File, Image, architecture, write_archive, write_layer
from meta_cluster.assets.processes import run
from meta_cluster.assets.recipe import Inputs, Lane, key_from
from meta_cluster.assets.unpacked import deterministic_tar, programs_with_libraries, unpack_deb, unpack_rootfs

ROOTFS = "rootfs-machine-bookworm"
BUSYBOX = "busybox-static"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
APPLETS = (
    "sh",
    "ash",
    "cat",
    "cp",
    "echo",
    "grep",
    "head",
    "hostname",
    "httpd",
    "ls",
    "mkdir",
    "mv",
    "nslookup",
    "ps",
    "rm",
    "sed",
    "sleep",
    "tail",
    "test",
    "touch",
    "tr",
)
PAUSE_SOURCE = """
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal_number) { (void)signal_number; _exit(0); }
static void reap(int signal_number) { (void)signal_number; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, leave); signal(SIGTERM, leave); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""

Pack = Callable[[Inputs, Path], Image]


def static(name: str, binary: str, *, at: str, extra: Mapping[str, object] | None = None) -> Pack:
    """An image that is one static binary on nothing."""

    def pack(inputs: Inputs, work: Path) -> Image:
        layer = write_layer(work / "layer.tar", {at: File(source=inputs.path(binary), mode=0o755)})
        config = {"Entrypoint": [at], "Env": [f"PATH=/usr/local/bin:{Path(at).parent}"], **(extra or {})}
        return Image(name, (layer,), config)

    return pack


def etcd(inputs: Inputs, work: Path) -> Image:
    """etcd, etcdctl, etcdutl and no shell, as upstream since 3.6.5."""
    files = {f"/usr/local/bin/{name}": File(source=inputs.path(f"{name}-{v.ETCD}"), mode=0o755) for name in ("etcd", "etcdctl", "etcdutl")}
    layer = write_layer(work / "layer.tar", files | {"/var/etcd": File(), "/var/lib/etcd": File(mode=0o700)})
    return Image(v.IMAGE_ETCD, (layer,), {"Entrypoint": ["/usr/local/bin/etcd"], "Env": ["PATH=/usr/local/bin"]})


def pause(_: Inputs, work: Path) -> Image:
    """The pod sandbox's process: waits, reaps, leaves on SIGTERM."""
    install_tools(C_COMPILER)
    source = work / "pause.c"
    source.write_text(PAUSE_SOURCE)
    run(["gcc", "-Os", "-static", "-s", "-Wl,--build-id=none", "-o", work / "pause", source])
    layer = write_layer(work / "layer.tar", {"/pause": File(source=work / "pause", mode=0o755)})
    return Image(v.IMAGE_PAUSE, (layer,), {"Entrypoint": ["/pause"], "User": "65535:65535"})


def _network_layer(inputs: Inputs, work: Path) -> Path:
    """iptables (nft and legacy), nft, conntrack and ip with every library, those of the xtables plugins too.

    Without the plugins' own libraries a Service with two endpoints silently has no rule (libxt_statistic needs libm).
    """
    root = unpack_rootfs(inputs.path(ROOTFS), work / "root")
    plugins = next(root.glob("usr/lib/*/xtables"))
    programs = ["/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi", "/usr/sbin/nft", "/usr/sbin/conntrack", "/usr/bin/ip"]
    shared = [f"/{plugin.relative_to(root)}" for plugin in sorted(plugins.glob("*.so")) if not plugin.is_symlink()]
    files = programs_with_libraries(root, [*programs, *shared])
    files |= {f"/{link.relative_to(root)}": File(link=str(link.readlink())) for link in plugins.glob("*.so") if link.is_symlink()}
    for family in ("iptables", "ip6tables"):
        for tool in (family, f"{family}-save", f"{family}-restore"):
            files[f"/usr/sbin/{tool}"] = File(link="xtables-nft-multi")
            files[f"/usr/sbin/{tool.replace(family, f'{family}-legacy')}"] = File(link="xtables-legacy-multi")
    files["/etc/protocols"] = File(content=b"tcp 6 TCP\nudp 17 UDP\nicmp 1 ICMP\nsctp 132 SCTP\n")
    return write_layer(work / "network.tar", merged_usr(files))


def merged_usr(files: Mapping[str, File]) -> dict[str, File]:
    """Paths as in a merged-/usr system: /lib, /lib64, /bin and /sbin become links, what lay there moves below /usr."""
    moved: dict[str, File] = {}
    for path, file in files.items():
        top = path.split("/")[1]
        moved[f"/usr{path}" if top in ("lib", "lib64", "bin", "sbin") else path] = file
    return moved | {f"/{top}": File(link=f"usr/{top}") for top in ("lib", "lib64", "bin", "sbin")}


def _busybox_files(inputs: Inputs, work: Path) -> dict[str, File]:
    deb = unpack_deb(inputs.path(BUSYBOX), work / "busybox")
    links = {f"/usr/bin/{applet}": File(link="busybox") for applet in APPLETS}
    return links | {"/usr/bin/busybox": File(source=deb / "bin" / "busybox", mode=0o755), "/tmp": File(mode=0o1777)}  # noqa: S108 - the image's own


def busybox(inputs: Inputs, work: Path) -> Image:
    """A small shell image (local-path's helper pod uses sh, mkdir and rm of it)."""
    layer = write_layer(work / "layer.tar", merged_usr(_busybox_files(inputs, work)))
    return Image(v.IMAGE_BUSYBOX, (layer,), {"Cmd": ["sh"], "Env": [f"PATH={SYSTEM_PATH}"]})


def kube_proxy(version: str) -> Pack:
    """kube-proxy over the network tools."""

    def pack(inputs: Inputs, work: Path) -> Image:
        binary = File(source=inputs.path(f"kube-proxy-{version}"), mode=0o755)
        layers = (_network_layer(inputs, work), write_layer(work / "layer.tar", {"/usr/local/bin/kube-proxy": binary}))
        return Image(
            v.kube_image("kube-proxy", version), layers, {"Entrypoint": ["/usr/local/bin/kube-proxy"], "Env": [f"PATH={SYSTEM_PATH}"]}
        )

    return pack


def flannel(inputs: Inputs, work: Path) -> Image:
    """flanneld over the network tools, with a shell as upstream's has one."""
    files = merged_usr(_busybox_files(inputs, work)) | {"/opt/bin/flanneld": File(source=inputs.path(f"flannel-{v.FLANNEL}"), mode=0o755)}
    layers = (_network_layer(inputs, work), write_layer(work / "layer.tar", files))
    return Image(v.IMAGE_FLANNEL, layers, {"Entrypoint": ["/opt/bin/flanneld"], "Env": [f"PATH={SYSTEM_PATH}"]})


def web(inputs: Inputs, work: Path) -> Image:
    """A test image: a tiny web server that answers with its host name, a shell, and curl to ask others."""
    root = unpack_rootfs(inputs.path(ROOTFS), work / "root")
    files = programs_with_libraries(root, ["/usr/bin/curl"]) | _busybox_files(inputs, work)
    start = b"#!/bin/sh\nmkdir -p /tmp/www && hostname > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www\n"
    files |= {
        "/www/index.html": File(content=b"a web pod of kok\n"),
        "/usr/bin/web": File(content=start, mode=0o755),
        "/etc/nsswitch.conf": File(content=b"hosts: files dns\n"),
    }
    layer = write_layer(work / "layer.tar", merged_usr(files))
    return Image(v.IMAGE_WEB, (layer,), {"Cmd": ["/usr/bin/web"], "Env": [f"PATH={SYSTEM_PATH}"], "User": "65534:65534"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """Several images in one archive; layers that they share are in it once."""

    packs: tuple[Pack, ...]
    revision: str
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """What goes in, and the revision of the packing."""
        return key_from(inputs, "bundle-2", self.revision, len(self.packs), architecture())

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Pack each in a folder of its own, then write them together."""
        images = []
        for number, pack in enumerate(self.packs):
            folder = work / str(number)
            folder.mkdir()
            images.append(pack(inputs, folder))
        return write_archive(work / "images.tar", images)


@dataclass(frozen=True, slots=True)
class CniPlugins:
    """The CNI plugins of a Debian package as a gzipped tar, plugin files at its top."""

    deb: str
    plugins: tuple[str, ...] = ("bridge", "host-local", "loopback", "portmap", "ptp")
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The package and the plugins taken."""
        return key_from(inputs, "cni-1", self.plugins)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Repack them."""
        root = unpack_deb(inputs.path(self.deb), work / "deb")
        output = work / "cni.tar.gz"
        with output.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed, _tar(packed) as tar:
            for plugin in self.plugins:
                deterministic_tar(tar, plugin, root / "usr/lib/cni" / plugin)
        return output


def _tar(packed: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT)
