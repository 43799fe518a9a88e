"""The catalogue's loader, in a checkout and in an installed wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operators.adapters.catalogue_files import FileCatalogue, data_root
from operators.errors import ErrorCode, KokError

CHECKOUT = Path(__file__).parents[4]
# Run by the installed wheel: renders the plane of the sample Cluster and tells where everything came from.
RENDER = """
import json, yaml, operators
from meta_cluster.bootstrap.manifests import Installation, Overlay, install_manifests
from operators.adapters.catalogue_files import FileCatalogue, data_root
from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.desired import desired_plane
from operators.domain.plane.inputs import PlaneEndpoint, PlaneInputs

files = FileCatalogue()
cluster = next(m for m in files.manifests("manifests/samples") if m["metadata"]["name"] == "demo" and m["kind"] == "Cluster")
package = ClusterPackageVersion.parse(files.manifests("packages/cluster")[0])
endpoint = PlaneEndpoint("10.89.0.2", 31443, ("10.89.0.2",))
plane = desired_plane(PlaneInputs(Cluster.parse(cluster), package, endpoint), files.plane_templates(package.spec.plane_revision))
install = install_manifests(Installation(Overlay.Lab), {}, packages=())
print(json.dumps({
    "code": operators.__file__, "data": str(data_root()), "components": sorted([*plane.components, *plane.waiting]),
    "rendered": sum(map(len, plane.components.values())), "objects": install.count, "playbooks": files.playbooks().is_dir(),
}))
"""


def test_should_read_the_checkout() -> None:
    files = FileCatalogue()
    assert data_root() == CHECKOUT
    assert files.manifests("manifests/crds")[0]["kind"] == "CustomResourceDefinition"
    assert files.playbooks() == CHECKOUT / "playbooks"
    assert all(name.endswith(".j2") for name in files.plane_templates("r1"))


def test_should_name_the_revisions_there_are() -> None:
    with pytest.raises(KokError) as refusal:
        FileCatalogue().plane_templates("r99")
    assert refusal.value.code is ErrorCode.CatalogueInvalid
    assert "r1" in refusal.value.message


@pytest.mark.parametrize("folder", ["manifests/none", "../etc", "tests", "packages/../tests"])
def test_should_read_nothing_outside_the_catalogue(folder: str) -> None:
    with pytest.raises(KokError, match="no folder"):
        FileCatalogue().manifests(folder)


def test_should_name_the_file_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "bad.yaml").write_text("a: [")
    with pytest.raises(KokError, match=r"bad\.yaml: not YAML"):
        FileCatalogue(tmp_path).manifests("packages")
    (tmp_path / "packages" / "bad.yaml").write_text("a: 1")
    with pytest.raises(KokError, match="it has no kind"):
        FileCatalogue(tmp_path).manifests("packages")


def test_should_leave_kustomizations_out() -> None:
    kinds = {manifest["kind"] for manifest in FileCatalogue().manifests("manifests/operators")}
    assert "Kustomization" not in kinds
    assert "Deployment" in kinds


def test_should_render_a_plane_from_an_installed_wheel(tmp_path: Path) -> None:
    """Everything comes from the wheel: the run sees neither the checkout nor an editable install of it."""
    uv = shutil.which("uv")
    assert uv, "uv sets up this project; see README.md"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=CHECKOUT, check=True, capture_output=True
    )
    site = tmp_path / "site"
    wheel = next(tmp_path.glob("*.whl"))
    install = [uv, "pip", "install", "-q", "--offline", "--no-index", "--no-deps", "--python", sys.executable, "--target", site, wheel]
    subprocess.run(install, check=True, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RENDER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["code"].startswith(str(site))
    assert found["data"] == str(site / "kok_data")
    assert {"etcd", "apiserver", "controller-manager", "scheduler", "machine-operator"} <= set(found["components"])
    assert found["rendered"] > 0
    assert found["objects"] > 10
    assert found["playbooks"]
