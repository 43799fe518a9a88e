"""Builds one binary from a committed Go module (`modules/<name>-<version>/`) with the ordinary Go client. Decides nothing about order.

The key of a binary is the hash of go.mod, go.sum, the module's own sources, the Go version, the package and the flags: the same key means the same binary.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from meta_cluster.assets.debian import C_COMPILER, install_tools
from meta_cluster.assets.processes import run
from meta_cluster.assets.recipe import Inputs, Lane
from meta_cluster.assets.toolchain import Go

MODULES = Path(str(files("meta_cluster.assets") / "modules"))


@dataclass(frozen=True, slots=True)
class GoBinary:
    """One command of one committed module. `static_c` is for programs with C inside: linked statically all the same."""

    module: str
    package: str
    stamps: tuple[str, ...] = ()
    static_c: bool = False

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum of the module lie."""
        return MODULES / self.module


def kubernetes_stamps(version: str) -> tuple[str, ...]:
    """The `-X` words without which Kubernetes binaries report v0.0.0 and refuse version-skew checks."""
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def link_flags(binary: GoBinary) -> str:
    """What follows `-ldflags`: no symbol table, version stamps, static C where there is any."""
    words = ["-s", "-w", *binary.stamps]
    return " ".join([*words, "-extldflags", "-static"] if binary.static_c else words)


def key_of(binary: GoBinary, go_version: str) -> str:
    """The hash of all that the binary is made from."""
    parts = [go_version, binary.package, link_flags(binary), str(binary.static_c)]
    content = [(binary.folder / name).read_text() for name in ("go.mod", "go.sum")]
    content += [path.read_text() for path in sorted(binary.folder.glob("*.go"))]
    return hashlib.sha256(json.dumps(parts + content).encode()).hexdigest()


def build(binary: GoBinary, go: Go, *, output: Path) -> None:
    """Compile and link into `output`; go's own cache makes a second command of the same module cheap."""
    environment = {
        "CGO_ENABLED": "1" if binary.static_c else "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
        "GOOS": "linux",
    }
    run(
        ["nice", "-n", "5", go.command, "build", "-ldflags", link_flags(binary), "-o", output, binary.package],
        env=environment,
        cwd=binary.folder,
    )


@dataclass(frozen=True, slots=True)
class FromGo:
    """A binary from a committed Go module."""

    binary: GoBinary
    lane: Lane = field(default=Lane.COMPILE, init=False)

    def key(self, inputs: Inputs) -> str:
        """go.mod, go.sum, Go version and flags."""
        return key_of(self.binary, inputs.go.version)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Compile it."""
        if self.binary.static_c:
            install_tools(C_COMPILER)
        output = work / "binary"
        build(self.binary, inputs.go, output=output)
        output.chmod(0o755)
        return output
