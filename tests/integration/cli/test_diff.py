"""`kok diff -f` on a real API server: what a commit would change by the server's own word, exit codes as kubectl's, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from meta_cluster.cli.main import run
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.world_of_planes import cluster_manifest, package_manifest

pytestmark = pytest.mark.integration
OLD, NEW = "kubernetes-1.34.4-x", "kubernetes-1.35.4-x"
Kok = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(meta_server: ApiServer) -> ApiServer:
    """Cluster prod/c at OLD, applied by Flux; NEW is in the catalogue, too."""
    meta_server.install_kinds()
    meta_server.kubectl("create", "namespace", "prod")
    current = {"packageVersion": OLD, "by": "Spec", "at": "2026-03-01T12:00:00Z"}
    release = {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "ClusterRelease",
        "metadata": {"name": "c", "namespace": "prod"},
        "spec": {"current": current},
    }
    for each in (package_manifest(OLD, "1.34.4"), package_manifest(NEW, "1.35.4"), wish(flags={"apiserver": {"v": "2"}}), release):
        meta_server.kubectl("apply", "--server-side", "--field-manager", "flux", "-f", "-", stdin=json.dumps(each))
    return meta_server


def wish(**spec: object) -> dict[str, object]:
    return cluster_manifest("prod", "c", **({"packageVersion": OLD} | spec))


@pytest.fixture
def kok(world: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kok:
    monkeypatch.setenv("KUBECONFIG", str(world.admin_kubeconfig))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def committed(folder: Path, *manifests: dict[str, object]) -> str:
    (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    return str(folder)


def stored(world: ApiServer) -> list[str]:
    """The versions of everything; kubectl prints what `..` finds in no order."""
    kinds = "clusters.kok.dev,machinepools.kok.dev,clusterpackageversions.kok.dev"
    return sorted(world.kubectl("get", kinds, "-A", "-o", "jsonpath={..resourceVersion}").split())


def test_should_exit_with_0_and_say_nothing_when_nothing_would_change(kok: Kok, tmp_path: Path) -> None:
    code, out, err = kok("diff", "-f", committed(tmp_path, wish(flags={"apiserver": {"v": "2"}}), package_manifest(NEW, "1.35.4")))
    assert (code, out) == (0, ""), err
    assert "2 objects of kok compared, 0 differ" in err


def test_should_exit_with_1_and_tell_fields_effects_and_objects_and_write_nothing(kok: Kok, tmp_path: Path, world: ApiServer) -> None:
    before = stored(world)
    code, out, err = kok("diff", "-f", committed(tmp_path, wish(packageVersion=NEW)))
    assert code == 1, err
    assert f"spec.packageVersion: {OLD} -> {NEW}" in out
    assert "spec.flags.apiserver.v: 2 -> (unset)" in out, "what Flux leaves out it takes away, since it had put it there"
    assert "effect   1.34.4 -> 1.35.4, one hop: rolls apiserver" in out
    assert "Deployment c-apiserver changed, pods roll" in out
    assert stored(world) == before
    code, out, _ = kok("diff", "-f", str(tmp_path), "-o", "json")
    assert code == 1
    assert json.loads(out)[0]["name"] == "prod/c"


def test_should_exit_with_2_where_the_api_server_would_refuse(kok: Kok, tmp_path: Path) -> None:
    code, out, _ = kok("diff", "-f", committed(tmp_path, wish(etcd={"members": 2, "storageGiB": 1, "separateEvents": False})))
    assert code == 2
    assert "refused" in out
    assert "an even number of members tolerates no more failures" in out


def test_should_tell_a_cluster_whose_namespace_comes_with_the_commit(kok: Kok, tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}
    code, out, err = kok("diff", "-f", committed(tmp_path, namespace, cluster_manifest("new", "n", packageVersion=OLD)))
    assert code == 1, err
    assert "Cluster new/n   created" in out
    assert f"a new plane at {OLD} in namespace new" in out


def test_should_refuse_a_cluster_whose_namespace_is_nowhere(kok: Kok, tmp_path: Path) -> None:
    code, out, _ = kok("diff", "-f", committed(tmp_path, cluster_manifest("new", "n", packageVersion=OLD)))
    assert code == 2
    assert "there is no namespace new, nor one among these files" in out


def test_should_refuse_a_node_port_that_somebody_has(kok: Kok, tmp_path: Path, world: ApiServer) -> None:
    world.kubectl("create", "service", "nodeport", "theirs", "--tcp=80", "--node-port=31234", "-n", "prod")
    taken = {"type": "NodePort", "host": "10.0.0.1", "port": 31234}
    code, out, _ = kok("diff", "-f", committed(tmp_path, cluster_manifest("prod", "n", packageVersion=OLD, endpoint=taken)))
    assert code == 2
    assert "spec.endpoint.port: node port 31234 is taken by Service prod/theirs" in out


@pytest.mark.parametrize("words", [("diff",), ("diff", "-f", "/no/such/folder"), ("diff", "-f", "/dev/null")])
def test_should_exit_with_2_for_words_that_mean_nothing(kok: Kok, words: tuple[str, ...]) -> None:
    code, out, err = kok(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
