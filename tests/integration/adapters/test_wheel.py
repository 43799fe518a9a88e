"""The project as people install it: a wheel, in a folder of its own, that sees nothing of the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from meta_cluster.assets.python_packages import uv

CHECKOUT = Path(__file__).parents[3]
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


def test_should_render_a_plane_from_an_installed_wheel(tmp_path: Path) -> None:
    """Everything comes from the wheel: the run sees neither the checkout nor an editable install of it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=CHECKOUT, check=True, capture_output=True
    )
    site = tmp_path / "site"
    wheel = next(tmp_path.glob("*.whl"))
    install = [*uv(), "pip", "install", "-q", "--offline", "--no-index", "--no-deps", "--python", sys.executable, "--target", site, wheel]
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
