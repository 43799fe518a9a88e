"""What committing a file would do: fields, objects of the plane by the real templates, effects on machines, and who has to allow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meta_cluster.cli.diff_effects import Surroundings, changed_fields, difference_of, difference_text
from meta_cluster.cli.diff_load import load
from operators.adapters.catalogue_files import FileCatalogue
from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import MachinePool
from operators.domain.rollout.forecast import Catalogue
from operators.errors import KokError
from tests.integration.cluster_operator.world_of_planes import package_manifest

OLD, NEW, FAR = "kubernetes-1.34.4-x", "kubernetes-1.35.4-x", "kubernetes-1.37.0-x"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"


def cluster(**spec: Any) -> dict[str, Any]:
    fields = {"packageVersion": OLD, "endpoint": {"type": "ClusterIP"}, "machineAccess": {"sshKeySecretName": "ssh"}}
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "c", "namespace": "prod"}, "spec": fields | spec}


def pool(*hosts: str, **spec: Any) -> dict[str, Any]:
    fields = {
        "clusterName": "c",
        "hosts": [{"name": name, "address": f"{name}.example", "hostKeys": [KEY]} for name in hosts],
        "packages": {"follow": "Cluster"},
    }
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePool", "metadata": {"name": "w", "namespace": "prod"}, "spec": fields | spec}


def kubelet(name: str, version: str) -> MachinePackageVersion:
    spec = {"component": "kubelet", "version": version, "order": 30, "effect": {"install": "None", "version": "Restart"}}
    return MachinePackageVersion.parse({"kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec})


def around(*pools: dict[str, Any], **current: Any) -> Surroundings:
    planes = {}
    for name, version, machines in ((OLD, "1.34.4", ["kubelet-1.34.4-x"]), (NEW, "1.35.4", ["kubelet-1.35.4-x"]), (FAR, "1.37.0", [])):
        manifest = package_manifest(name, version)
        manifest["spec"]["machinePackages"] = machines
        planes[name] = ClusterPackageVersion.parse(manifest)
    machines = {f"kubelet-{version}-x": kubelet(f"kubelet-{version}-x", version) for version in ("1.34.4", "1.35.4")}
    now = {"packageVersion": OLD, "by": "Spec", "at": "2026-03-01T12:00:00Z"} | current
    release = ClusterRelease.parse({"kind": "ClusterRelease", "metadata": {"name": "c", "namespace": "prod"}, "spec": {"current": now}})
    own = {"prod/c": [MachinePool.parse(each) for each in pools]}
    return Surroundings({"prod/c": release}, own, Catalogue(planes, machines), FileCatalogue().plane_templates)


def test_should_say_nothing_of_what_is_the_same() -> None:
    assert difference_of(cluster(), cluster(), around()) is None
    assert difference_of(pool("w-1"), pool("w-1"), around()) is None


def test_should_tell_an_upgrade_by_its_way_its_machines_and_its_objects() -> None:
    found = difference_of(cluster(), cluster(packageVersion=NEW), around(pool("w-1", "w-2")))
    assert found
    assert found.fields == (f"spec.packageVersion: {OLD} -> {NEW}",)
    way, needs = found.effects
    assert way.startswith("1.34.4 -> 1.35.4, one hop: rolls apiserver, controllerManager, scheduler")
    assert "pool w, 2 machines: kubelet (drain first)" in way
    assert needs == "needs leave: ApplyPackage x2, UpgradePlane x1"
    assert any("Deployment c-apiserver changed, pods roll" in each for each in found.objects)
    assert not any(each.startswith("etcd:") for each in found.objects), "etcd's version is the same"
    assert not found.refused


def test_should_say_that_nothing_happens_until_a_rollout_covers_it() -> None:
    found = difference_of(cluster(changePolicy="RolloutOnly"), cluster(changePolicy="RolloutOnly", packageVersion=NEW), around())
    assert found
    assert "changePolicy is RolloutOnly" in found.effects[0]
    assert found.objects == ()


def test_should_say_that_a_wish_that_a_rollout_went_past_is_none() -> None:
    facts = around(packageVersion=NEW, by="Rollout", name="october", wish=OLD, **{"from": OLD})
    found = difference_of(cluster(packageVersion=NEW), cluster(packageVersion=OLD), facts)
    assert found
    assert "rollout october went past it" in found.effects[0]


def test_should_refuse_a_hop_that_no_path_leads_to() -> None:
    found = difference_of(cluster(), cluster(packageVersion=FAR), around())
    assert found
    assert "Kubernetes changes one minor at a time" in found.refused
    assert found.objects == ()


@pytest.mark.parametrize(("flags", "says"), [({"apiserver": {"etcd-servers": "x"}}, "FlagOwned"), ({"apiserver": {"v": "4"}}, "")])
def test_should_render_flags_and_refuse_those_that_are_ours(flags: dict[str, Any], says: str) -> None:
    found = difference_of(cluster(), cluster(flags=flags), around())
    assert found
    assert says in found.refused
    assert bool(found.refused) == bool(says)
    assert ("Deployment c-apiserver changed, pods roll" in "".join(found.objects)) is not bool(says)


def test_should_tell_a_new_cluster_by_what_is_made() -> None:
    facts = around()
    found = difference_of(None, cluster(), Surroundings({}, {}, facts.catalogue, facts.templates))
    assert found
    assert (found.what, found.fields) == ("created", ())
    assert f"a new plane at {OLD} in namespace prod" in found.effects
    assert any("StatefulSet c-etcd created" in each for each in found.objects)


@pytest.mark.parametrize(
    ("holder", "says"), [("c", ""), ("other", "is taken by Cluster prod/other"), (None, "is taken by Service prod/web")]
)
@pytest.mark.parametrize("field", ["port", "konnectivityPort"])
def test_should_refuse_a_node_port_that_another_has(field: str, holder: str | None, says: str) -> None:
    wish = cluster(endpoint={"type": "NodePort", "host": "10.0.0.1", "port": 30001, "konnectivityPort": 30002})
    labels = {"kok.dev/cluster": holder} if holder else {}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "prod", "labels": labels},
        "spec": {"ports": [{"nodePort": wish["spec"]["endpoint"][field]}]},
    }
    facts = around()

    found = difference_of(None, wish, Surroundings({}, {}, facts.catalogue, facts.templates, services=[service]))

    assert found
    assert bool(found.refused) is bool(says)
    assert says in found.refused
    assert not says or f"spec.endpoint.{field}: node port" in found.refused


def test_should_tell_what_happens_to_each_host_of_a_pool() -> None:
    found = difference_of(pool("w-1", "w-2"), pool("w-2", "w-3", labels={"tier": "web"}), around(pool("w-1", "w-2")))
    assert found
    assert "+ host w-3 (w-3.example): becomes a node" in found.effects
    assert "- host w-1: is drained, cleaned and let go" in found.effects
    assert "labels of 2 nodes change; no pod is touched" in found.effects


def test_should_tell_another_package_by_its_effect_and_what_policy_says() -> None:
    explicit = {"explicit": ["kubelet-1.34.4-x"]}, {"explicit": ["kubelet-1.35.4-x"]}
    before, after = (pool("w-1", packages=each) for each in explicit)
    found = difference_of(before, after, around())
    assert found
    assert "1 hosts: kubelet kubelet-1.34.4-x -> kubelet-1.35.4-x (drain first)" in found.effects
    bounded = pool("w-1", packages=explicit[1], update={"maxEffect": "Restart"})
    held = difference_of(before, bounded, around())
    assert held
    assert any(each.startswith("waits: ") and "update.maxEffect allows Restart" in each for each in held.effects)


def test_should_refuse_a_pool_of_no_cluster() -> None:
    facts = around()
    found = difference_of(None, pool("w-1"), Surroundings({}, {}, facts.catalogue, facts.templates))
    assert found
    assert found.refused == "there is no Cluster prod/c"


def test_should_list_fields_leaf_by_leaf() -> None:
    found = list(changed_fields({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": 2, "c": [1]}, "e": "x" * 100}))
    assert found == ["a.b: 1 -> 2", "d: 1 -> (unset)", f"e: (unset) -> {'x' * 79}…"]


def test_should_print_what_it_found() -> None:
    found = difference_of(cluster(), cluster(packageVersion=FAR), around())
    assert found
    text = difference_text(found)
    assert text.splitlines()[0] == "Cluster prod/c   changed"
    assert "\n  refused  spec.packageVersion: " in text
    assert set(found.data()) == {"kind", "name", "what", "fields", "refused"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not YAML"),
        ("a: 1", "no apiVersion and kind"),
        ("{apiVersion: v1, kind: Secret, metadata: {name: x}}", "no object of kok"),
        ("{apiVersion: kok.dev/v1alpha1, kind: Cluster, metadata: {}}", "no metadata.name"),
    ],
)
def test_should_refuse_files_that_hold_nothing_to_compare(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(KokError, match=says):
        load(str(tmp_path))


def test_should_read_folders_lists_and_many_documents_without_kustomizations_and_journals(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yml").write_text(
        "{apiVersion: kok.dev/v1alpha1, kind: MachinePool, metadata: {name: w, namespace: n}}\n---\n---\n"
    )
    item = "{apiVersion: kok.dev/v1alpha1, kind: Cluster, metadata: {name: c}}"
    release = "{apiVersion: kok.dev/v1alpha1, kind: ClusterRelease, metadata: {name: c}}"
    (tmp_path / "b.yaml").write_text(f"{{apiVersion: v1, kind: List, items: [{item}, {release}]}}")
    (tmp_path / "kustomization.yaml").write_text("resources: [b.yaml]")
    loaded = load(str(tmp_path))
    assert [(each["kind"], each["metadata"]["namespace"]) for each in loaded.manifests] == [("Cluster", "default"), ("MachinePool", "n")]
    assert loaded.others == 1


def test_should_refuse_a_pool_with_an_address_that_another_has_and_a_package_that_nobody_has() -> None:
    taken = {"name": "other-1", "address": "w-1.example", "hostKeys": [KEY]}
    bad = pool("w-9", packages={"follow": "Cluster", "extra": ["disk-watch-9-r1"]})
    bad["metadata"]["name"], bad["spec"]["hosts"] = "bad", [taken]
    found = difference_of(None, bad, around(pool("w-1")))
    assert found
    assert "hosts w-1 of pool w and other-1 have the same address w-1.example:22 (HostDuplicate)" in found.refused
    assert "packages.extra: MachinePackageVersion disk-watch-9-r1 is not in the meta cluster (PackageMissing)" in found.refused
    good = difference_of(None, {**pool("w-2"), "metadata": {"name": "good", "namespace": "prod"}}, around(pool("w-1")))
    assert good
    assert not good.refused
    longer = difference_of(pool("w-1"), pool("w-1", "w-2"), around(pool("w-1")))
    assert longer
    assert not longer.refused, "a pool is no neighbour of its own"
