"""`kok assets`: what the assets folder holds, and making what is missing. A thin face of meta_cluster.assets."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Binaries, images and host packages: found in the assets folder, or built.")


@app.command()
def ensure(
    names: Annotated[list[str] | None, typer.Argument(help="Assets to make sure of; none means all but those on demand.")] = None,
) -> None:
    """Build what is missing. Safe to interrupt and to run twice at once.

    Example: kok assets ensure kube-apiserver-1.35.4 etcd-3.6.8
    """
    from meta_cluster.assets.builder import Builder
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.assets.table import table

    assets = table()
    wanted = names or [name for name, asset in assets.items() if not asset.on_demand]
    for name, path in Builder(AssetsFolder(), assets).ensure(wanted).items():
        print(f"{name}\t{path}")


if __name__ == "__main__":
    app()
