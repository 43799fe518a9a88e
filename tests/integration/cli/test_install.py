"""Installing into a real API server: from nothing, again, with changes, tried only; and removing it all."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.bootstrap.apply import Mode, Verb
from meta_cluster.bootstrap.install import Installer, InstallReport
from meta_cluster.bootstrap.manifests import Installation, InstallManifests, Overlay, install_manifests
from meta_cluster.bootstrap.uninstall import refuse_while_used, removal, uninstall
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubePort, Manifest, Ref
from tests.integration.api_server import KUBECTL, ApiServer, asset
from tests.sample_manifests import sample_path

OVERLAYS = Path(__file__).parents[3] / "manifests" / "operators" / "overlays"
POLICY = Kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
LEDGER = Ref("kok.dev/v1alpha1", "Ledger", "kok-system", "ledger")


def packages() -> list[Manifest]:
    """A catalogue of one of each kind that fit each other; one digest is filled in from the assets."""
    machine = yaml.safe_load(sample_path("package-machine.yaml").read_text())
    cluster = yaml.safe_load(sample_path("package-cluster.yaml").read_text())
    del machine["spec"]["artifacts"][0]["sha256"]
    cluster["spec"]["machinePackages"] = [machine["metadata"]["name"]]
    return [machine, cluster]


def wanted(**changes: Any) -> InstallManifests:
    installation = Installation(Overlay.Lab, image="registry.kok.dev/kok:test", **changes)
    return install_manifests(installation, {"example-1.0.0": "f" * 64}, packages=packages())


async def install(kube: KubePort, manifests: InstallManifests, mode: Mode = Mode.Do) -> tuple[InstallReport, list[str]]:
    lines: list[str] = []
    report = await Installer(kube, lines.append, mode, patience=90, poll=0.1).run(manifests)
    return report, lines


@pytest.mark.parametrize("overlay", Overlay)
def test_should_render_what_kubectl_kustomize_renders(overlay: Overlay) -> None:
    done = subprocess.run([asset(KUBECTL), "kustomize", OVERLAYS / overlay], capture_output=True, text=True, check=True)
    theirs = sorted(json.dumps(m, sort_keys=True) for m in yaml.safe_load_all(done.stdout))
    manifests = install_manifests(Installation(overlay), {}, packages=())
    assert sorted(json.dumps(m, sort_keys=True) for m in (*manifests.base, *manifests.budgets, *manifests.workloads)) == theirs


async def test_should_only_say_what_it_would_do_on_an_empty_cluster(meta: KubePort, dry_meta: KubePort) -> None:
    report, _ = await install(dry_meta, wanted(), Mode.Try)
    assert len(report.written) == wanted().count + 1
    assert await meta.get(Ref("v1", "Namespace", "", "kok-system")) is None
    assert (await meta.list(Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"))).items == ()


async def test_should_install_everything_and_then_nothing(meta: KubePort, deployments_become_ready: None) -> None:
    first, lines = await install(meta, wanted())
    assert {change.verb for change in first.changes} == {Verb.Created}
    assert [line.split(":")[0] for line in lines if not line.startswith("waiting")] == [
        "CustomResourceDefinitions", "namespace, rights, admission", "catalogue", "budgets", "ledger", "operators",
    ]  # fmt: skip
    stored = await meta.get(Ref("kok.dev/v1alpha1", "MachinePackageVersion", "", "example-1.0.0-sample"))
    assert stored is not None
    assert stored["spec"]["artifacts"][0]["sha256"] == "f" * 64
    second, _ = await install(meta, wanted())
    assert second.written == ()


async def test_should_write_nothing_after_another_controller_has_said_its_status(
    meta: KubePort, meta_server: ApiServer, deployments_become_ready: None
) -> None:
    """An atomic field that leaves defaults to the server is replaced by every apply, and with a second applier of the object that is a write:
    the controller-manager, which no API server of these tests has, applies the status of every ValidatingAdmissionPolicy.
    """
    await install(meta, wanted())
    identity = kubeconfig_credentials(meta_server.kubeconfig("controller", groups=["system:masters"]))
    controller = KubeClient(identity, field_manager="validatingadmissionpolicy-status")
    try:
        for policy in (await meta.list(POLICY)).items:
            await controller.patch_status(Ref.of(policy), {"observedGeneration": 1, "typeChecking": {}})
    finally:
        await controller.close()
    await asyncio.sleep(1.1)  # managed fields are sorted by whole seconds
    before = await policy_versions(meta)
    await install(meta, wanted())
    assert before
    assert await policy_versions(meta) == before


async def policy_versions(kube: KubePort) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in (await kube.list(POLICY)).items}


async def test_should_write_only_what_differs(meta: KubePort, deployments_become_ready: None) -> None:
    await install(meta, wanted())
    await meta.patch_json(Ref("v1", "Service", "kok-system", "kok-artifacts"), {"spec": {"selector": {"app.kubernetes.io/component": "x"}}})
    report, _ = await install(meta, wanted())
    assert [str(change) for change in report.written] == ["changed Service kok-system/kok-artifacts"]


async def test_should_say_what_a_second_run_would_change(meta: KubePort, dry_meta: KubePort, deployments_become_ready: None) -> None:
    await install(meta, wanted())
    assert (await install(dry_meta, wanted(), Mode.Try))[0].written == ()
    other = install_manifests(
        Installation(Overlay.Lab, image="registry.kok.dev/kok:next"), {"example-1.0.0": "f" * 64}, packages=packages()
    )
    report, _ = await install(dry_meta, other, Mode.Try)
    assert [str(c) for c in report.written] == [
        "changed Deployment kok-system/kok-cluster-operator",
        "changed Deployment kok-system/kok-artifacts",
    ]


async def test_should_refuse_a_package_version_that_changed(meta: KubePort, deployments_become_ready: None) -> None:
    await install(meta, wanted())
    changed = packages()
    changed[0]["spec"]["files"][0]["content"] = "other"
    with pytest.raises(KokError) as refusal:
        await install(meta, install_manifests(Installation(Overlay.Lab), {"example-1.0.0": "f" * 64}, packages=changed))
    assert refusal.value.code is ErrorCode.PackageConflict
    assert "MachinePackageVersion example-1.0.0-sample is there with another spec.files[0].content" in refusal.value.message


async def test_should_keep_the_machine_operators_image_of_the_first_installation(meta: KubePort, deployments_become_ready: None) -> None:
    """It is part of a spec that never changes; anything else that differs beside it is still refused."""

    def catalogue(image: str, version: str = "1.35.4") -> InstallManifests:
        machine, cluster = packages()
        cluster["metadata"]["name"] += "-by-image"
        cluster["spec"]["kubernetesVersion"] = version
        cluster["spec"]["components"]["machineOperator"]["image"] = image
        return install_manifests(Installation(Overlay.Lab), {"example-1.0.0": "f" * 64}, packages=[machine, cluster])

    first = catalogue("mirror.example/kok:1")
    await install(meta, first)
    assert (await install(meta, catalogue("mirror.example/kok:2")))[0].written == ()
    stored = await meta.get(Ref.of(first.catalogue[-1]))
    assert stored is not None
    assert stored["spec"]["components"]["machineOperator"]["image"] == "mirror.example/kok:1"
    with pytest.raises(KokError, match="kubernetesVersion"):
        await install(meta, catalogue("mirror.example/kok:2", "1.35.3"))


async def test_should_make_missing_budgets_and_never_overwrite_an_edited_one(meta: KubePort, deployments_become_ready: None) -> None:
    await install(meta, wanted())
    edited, missing = (Ref("kok.dev/v1alpha1", "OperationBudget", "", name) for name in ("machines-per-pool", "all-changes"))
    await meta.patch_json(edited, {"spec": {"concurrency": {"percent": 1}}})
    await meta.delete(missing)
    report, _ = await install(meta, wanted())
    assert [str(change) for change in report.written] == ["created OperationBudget all-changes"]
    stored = await meta.get(edited)
    assert stored is not None
    assert stored["spec"]["concurrency"]["percent"] == 1


async def test_should_never_overwrite_the_ledger(meta: KubePort, glass_broken: KubePort, deployments_become_ready: None) -> None:
    await install(meta, wanted())
    await glass_broken.patch_json(LEDGER, {"spec": {"epoch": 7}})
    await install(meta, wanted())
    stored = await meta.get(LEDGER)
    assert stored is not None
    assert stored["spec"]["epoch"] == 7


async def test_should_not_forget_what_is_in_flight_when_the_ledger_was_deleted(
    meta: KubePort, glass_broken: KubePort, deployments_become_ready: None
) -> None:
    await install(meta, wanted())
    grant = next(m for m in yaml.safe_load_all(sample_path("journals.yaml").read_text()) if m["kind"] == "OperationGrant")
    grant["metadata"]["namespace"] = "kok-system"
    await glass_broken.create(grant)
    await glass_broken.delete(LEDGER)
    with pytest.raises(KokError, match="no Ledger kok-system/ledger"):
        await install(meta, wanted())
    await glass_broken.delete(Ref.of(grant))
    await install(meta, wanted())
    assert await meta.get(LEDGER) is not None


async def test_should_say_why_the_operators_do_not_become_ready(meta: KubePort) -> None:
    other = copy.deepcopy(wanted())
    other.workloads[0]["spec"]["replicas"] = 3
    lines: list[str] = []
    with pytest.raises(KokError) as failure:
        await Installer(meta, lines.append, patience=0.3, poll=0.1).run(other)
    assert failure.value.code is ErrorCode.Timeout
    assert "kok-cluster-operator" in failure.value.message


async def test_should_uninstall_only_when_nothing_is_left_to_look_after(
    meta: KubePort, meta_server: ApiServer, deployments_become_ready: None
) -> None:
    await install(meta, wanted())
    cluster = yaml.safe_load(sample_path("cluster-clusterip.yaml").read_text())
    cluster["metadata"]["namespace"] = "default"
    await meta.create(cluster)
    with pytest.raises(KokError) as refusal:
        await refuse_while_used(meta)
    assert "1 clusters are left: default/scratch" in refusal.value.message
    await meta.delete(Ref.of(cluster))
    await refuse_while_used(meta)
    meta_server.start_controller_manager()
    removed = await uninstall(meta, removal().refs, tell=lambda line: None, patience=180)
    assert len(removed) == len(wanted().base) + len(wanted().workloads) + len(wanted().crds)
    assert await meta.get(Ref("v1", "Namespace", "", "kok-system")) is None
    assert await uninstall(meta, removal().refs, tell=lambda line: None) == []
