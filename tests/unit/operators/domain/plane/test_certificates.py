"""Which keys a plane has, and whom they let in where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.domain.plane.certificates import LeafForm, LeafSpec, RootForm, Usage, digest_of, leaf_specs, root_specs
from operators.domain.plane.inputs import PlaneEndpoint
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs


def leaf(secret: str, inputs: object = None) -> LeafSpec:
    (found,) = [spec for spec in leaf_specs(inputs or some_inputs()) if spec.secret == secret]  # type: ignore[arg-type]
    return found


def test_should_have_one_ca_per_trust_domain_and_one_key_pair() -> None:
    assert [(spec.secret, spec.form) for spec in root_specs(some_inputs())] == [
        ("demo-ca", RootForm.CA),
        ("demo-etcd-ca", RootForm.CA),
        ("demo-front-proxy-ca", RootForm.CA),
        ("demo-service-account", RootForm.KeyPair),
    ]


def test_should_have_these_leaves() -> None:
    assert {spec.secret: spec.signer for spec in leaf_specs(some_inputs(a_cluster(etcd={"separateEvents": True})))} == {
        "demo-etcd-tls": "demo-etcd-ca",
        "demo-etcd-events-tls": "demo-etcd-ca",
        "demo-apiserver-etcd-client": "demo-etcd-ca",
        "demo-etcd-operator-client": "demo-etcd-ca",
        "demo-apiserver-kubelet-client": "demo-ca",
        "demo-front-proxy-client": "demo-front-proxy-ca",
        "demo-operator-kubeconfig": "demo-ca",
        "demo-controller-manager-kubeconfig": "demo-ca",
        "demo-scheduler-kubeconfig": "demo-ca",
        "demo-machine-operator-kubeconfig": "demo-ca",
        "demo-apiserver-tls": "demo-ca",
        "demo-kubeconfig": "demo-ca",
        "demo-konnectivity-kubeconfig": "demo-ca",
        "demo-konnectivity-tls": "demo-ca",
    }


def test_should_give_system_masters_to_the_operator_only() -> None:
    masters = [spec.secret for spec in leaf_specs(some_inputs()) if spec.organisation == "system:masters"]

    assert masters == ["demo-operator-kubeconfig"]


def test_should_have_no_machine_operator_kubeconfig_without_machine_access() -> None:
    assert "demo-machine-operator-kubeconfig" not in {spec.secret for spec in leaf_specs(some_inputs(a_cluster(machineAccess=None)))}


@pytest.mark.parametrize(
    ("host", "in_dns", "in_addresses"),
    [("192.0.2.7", False, True), ("api.example.org", True, False)],
)
def test_should_serve_under_every_name_the_apiserver_is_called_by(host: str, in_dns: bool, in_addresses: bool) -> None:
    spec = leaf("demo-apiserver-tls", some_inputs(endpoint=PlaneEndpoint(host, 31443, ("192.0.2.7",))))

    assert {"kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "demo-apiserver.demo.svc", "localhost"} <= set(
        spec.dns_names
    )
    assert {"10.97.0.1", "127.0.0.1"} <= set(spec.ip_addresses)
    assert (host in spec.dns_names, host in spec.ip_addresses) == (in_dns, in_addresses)
    assert spec.usages == (Usage.Server,)


def test_should_not_reissue_when_only_the_addresses_behind_a_name_change() -> None:
    one, other = (
        leaf("demo-apiserver-tls", some_inputs(endpoint=PlaneEndpoint("api.example.org", 443, at)))
        for at in (("192.0.2.1",), ("192.0.2.2",))
    )

    assert one == other


def test_should_keep_what_does_not_need_the_endpoint_while_there_is_none() -> None:
    missing = {spec.secret for spec in leaf_specs(some_inputs())} - {
        spec.secret for spec in leaf_specs(replace(some_inputs(), endpoint=None))
    }

    assert missing == {"demo-apiserver-tls", "demo-kubeconfig"}


@pytest.mark.parametrize(("port", "server"), [(443, "https://demo-apiserver.demo.svc:443"), (None, "https://demo-apiserver.demo.svc:6443")])
def test_should_go_through_the_service_within_the_meta_cluster(port: int | None, server: str) -> None:
    endpoint = {"type": "LoadBalancer", **({"port": port} if port else {})}

    assert leaf("demo-operator-kubeconfig", some_inputs(a_cluster(endpoint=endpoint))).server == server


def test_should_not_use_the_node_port_within_the_meta_cluster() -> None:
    assert leaf("demo-operator-kubeconfig").server == "https://demo-apiserver.demo.svc:6443"
    assert leaf("demo-kubeconfig").server == "https://10.89.0.2:31443"


def test_should_let_etcd_members_serve_and_call_each_other() -> None:
    spec = leaf("demo-etcd-tls")

    assert spec.form is LeafForm.TLS
    assert set(spec.usages) == {Usage.Client, Usage.Server}
    assert set(spec.dns_names) == {"localhost", "demo-etcd.demo.svc", "*.demo-etcd-peer.demo.svc"}


def test_should_digest_content_not_order() -> None:
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"}) != digest_of({"a": "1", "b": "3"})


def test_should_keep_common_names_within_what_x509_allows() -> None:
    inputs = some_inputs(a_cluster(name="c" * 63))

    assert all(len(spec.common_name) <= 64 for spec in (*root_specs(inputs), *leaf_specs(inputs)))
