"""What a plane consists of, whatever its size: labels, order, safety of its pods, what rolls what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT, LABEL_MANAGED_BY
from operators.domain.plane.desired import components_of, desired_plane, inside
from operators.domain.plane.desired_rendering import SECRETS_ANNOTATION, Renderer
from operators.domain.plane.inputs import LABEL_NAMESPACE, Manifest, PlaneEndpoint
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.plane.rendered import a_cluster, a_package, some_inputs, templates

TEMPLATES = templates()
LARGE = {"size": "large", "masters": {"replicas": 3}, "etcd": {"members": 3, "storageGiB": 50, "separateEvents": True}}
SHAPES = [
    {},
    {"size": "medium", "etcd": {"members": 5, "separateEvents": True}},
    LARGE,
    {"endpoint": {"type": "LoadBalancer"}, "machineAccess": None},
    {"endpoint": {"type": "ClusterIP", "port": 443}},
]


def everything(**spec: Any) -> tuple[Manifest, ...]:
    inputs = some_inputs(a_cluster(**spec))
    return (*chain.from_iterable(desired_plane(inputs, TEMPLATES).components.values()), *inside(inputs, TEMPLATES))


def the(kind: str, name: str, **spec: Any) -> Manifest:
    (found,) = [m for m in everything(**spec) if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def masters(**spec: Any) -> Iterator[Manifest]:
    """Workloads in the meta cluster."""
    for manifests in desired_plane(some_inputs(a_cluster(**spec)), TEMPLATES).components.values():
        yield from (m for m in manifests if m["kind"] in ("StatefulSet", "Deployment"))


def arguments_of(workload: Manifest) -> list[str]:
    return workload["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("spec", SHAPES)
def test_should_label_every_object_pod_and_volume(spec: dict[str, Any]) -> None:
    for manifest in everything(**spec):
        labels = manifest["metadata"]["labels"]
        assert labels[LABEL_MANAGED_BY] == "kok", manifest["metadata"]["name"]
        assert labels[LABEL_CLUSTER] == "demo"
        assert labels[LABEL_COMPONENT]
    for workload in masters(**spec):
        wanted = workload["metadata"]["labels"]
        assert workload["spec"]["template"]["metadata"]["labels"] == wanted
        assert workload["spec"]["selector"]["matchLabels"] == wanted
        assert all(claim["metadata"]["labels"] == wanted for claim in workload["spec"].get("volumeClaimTemplates", ()))


@pytest.mark.parametrize("spec", SHAPES)
def test_should_name_every_object_once(spec: dict[str, Any]) -> None:
    seen = [(m["apiVersion"], m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in everything(**spec)]

    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("spec", SHAPES)
def test_should_bring_up_components_in_their_order(spec: dict[str, Any]) -> None:
    cluster = a_cluster(**spec)

    assert tuple(desired_plane(some_inputs(cluster), TEMPLATES).components) == components_of(cluster, a_package())


@pytest.mark.parametrize("spec", SHAPES)
def test_should_meet_the_restricted_pod_security_standard(spec: dict[str, Any]) -> None:
    for workload in masters(**spec):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["imagePullPolicy"] == "IfNotPresent"
            assert "memory" in container["resources"]["limits"]


def test_should_give_a_service_account_token_to_the_machine_operator_only() -> None:
    given_one = [m["metadata"]["name"] for m in masters() if m["spec"]["template"]["spec"]["automountServiceAccountToken"]]

    assert given_one == ["demo-machine-operator"]


@pytest.mark.parametrize("spec", SHAPES)
def test_should_roll_pods_by_exactly_the_secrets_they_mount(spec: dict[str, Any]) -> None:
    for workload in masters(**spec):
        template = workload["spec"]["template"]
        noted = {entry.partition("=")[0] for entry in template["metadata"]["annotations"][SECRETS_ANNOTATION].split(",")}
        assert noted == set(mounted_secrets(template["spec"]["volumes"])), workload["metadata"]["name"]


def mounted_secrets(volumes: list[dict[str, Any]]) -> Iterator[str]:
    for volume in volumes:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        for source in volume.get("projected", {}).get("sources", ()):
            yield source["secret"]["name"]


def test_should_change_only_the_pods_of_a_reissued_leaf() -> None:
    before = some_inputs()
    after = replace(before, secret_digests={**before.secret_digests, "demo-scheduler-kubeconfig": "another"})

    old, new = (desired_plane(inputs, TEMPLATES).components for inputs in (before, after))

    assert [component for component in old if old[component] != new[component]] == ["scheduler"]


def test_should_wait_in_words_for_a_secret_that_is_not_there() -> None:
    inputs = some_inputs()
    digests = {name: digest for name, digest in inputs.secret_digests.items() if name != "demo-etcd-tls"}

    plane = desired_plane(replace(inputs, secret_digests=digests), TEMPLATES)

    assert plane.waiting == {"etcd": "Secret demo-etcd-tls is not there yet"}
    assert "etcd" not in plane.components


def test_should_render_the_service_before_its_address_is_known() -> None:
    inputs = replace(some_inputs(a_cluster(endpoint={"type": "LoadBalancer"})), endpoint=None)

    plane = desired_plane(inputs, TEMPLATES)

    assert list(plane.components) == ["isolation", "endpoint"]
    assert set(plane.waiting.values()) == {"the endpoint has no address yet"}


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        ({"type": "NodePort", "host": "10.89.0.2", "port": 31443}, {"port": 6443, "nodePort": 31443}),
        ({"type": "LoadBalancer"}, {"port": 6443}),
        ({"type": "LoadBalancer", "port": 443}, {"port": 443}),
        ({"type": "ClusterIP", "port": 8443}, {"port": 8443}),
    ],
)
def test_should_publish_the_apiserver_as_asked(endpoint: dict[str, Any], ports: dict[str, int]) -> None:
    spec = the("Service", "demo-apiserver", endpoint=endpoint)["spec"]

    assert spec["type"] == endpoint["type"]
    assert spec["ports"] == [{"name": "https", "protocol": "TCP", "targetPort": "https", **ports}]


def test_should_never_take_an_apiserver_away_before_the_next_is_ready() -> None:
    deployment = the("Deployment", "demo-apiserver")
    container = deployment["spec"]["template"]["spec"]["containers"][0]

    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez?exclude=etcd"
    assert container["startupProbe"]["httpGet"]["path"] == "/livez?exclude=etcd"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for argument in ("--endpoint-reconciler-type=none", "--allow-privileged=true", "--shutdown-send-retry-after=true"):
        assert argument in container["args"]


@pytest.mark.parametrize(("version", "known"), [("1.33.13", ["v1beta1"]), ("1.34.4", ["v1beta1", "v1"]), ("1.35.4", ["v1beta1", "v1"])])
def test_should_write_the_authentication_that_the_version_and_its_neighbours_read(version: str, known: list[str]) -> None:
    """https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/ begins with 1.34; pods of two minors read one file while one is rolled."""
    package = a_package()
    package = package.model_copy(update={"spec": package.spec.model_copy(update={"kubernetes_version": version})})
    plane = desired_plane(some_inputs(package=package), templates())
    (config,) = (
        one for one in chain(*plane.components.values()) if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "demo-apiserver"
    )
    written = json.loads(config["data"]["authentication.json"])["apiVersion"].rpartition("/")[2]
    assert written in known
    assert written == ("v1beta1" if version < "1.35" else "v1"), "1.34 is a neighbour of 1.33"


def test_should_spread_long_connections_only_over_several_apiservers() -> None:
    assert "--goaway-chance=0.001" not in arguments_of(the("Deployment", "demo-apiserver"))
    assert "--goaway-chance=0.001" in arguments_of(the("Deployment", "demo-apiserver", masters={"replicas": 2}))


def test_should_keep_events_in_their_own_etcd_when_asked() -> None:
    override = "--etcd-servers-overrides=/events#https://demo-etcd-events.demo.svc:2379"

    assert override in arguments_of(the("Deployment", "demo-apiserver", **LARGE))
    assert override not in arguments_of(the("Deployment", "demo-apiserver"))
    assert the("StatefulSet", "demo-etcd-events", **LARGE)["spec"]["replicas"] == 3


def test_should_lead_default_kubernetes_to_the_endpoint() -> None:
    endpoint = PlaneEndpoint("api.example.org", 443, ("192.0.2.1", "192.0.2.2"))
    manifests = inside(some_inputs(endpoint=endpoint), TEMPLATES)

    slice_ = next(m for m in manifests if m["kind"] == "EndpointSlice")
    old = next(m for m in manifests if m["kind"] == "Endpoints")

    assert [entry["addresses"] for entry in slice_["endpoints"]] == [["192.0.2.1"], ["192.0.2.2"]]
    assert slice_["ports"] == old["subsets"][0]["ports"] == [{"name": "https", "protocol": "TCP", "port": 443}]
    assert [entry["ip"] for entry in old["subsets"][0]["addresses"]] == ["192.0.2.1", "192.0.2.2"]


def test_should_refuse_to_write_default_kubernetes_without_addresses() -> None:
    with pytest.raises(KokError) as caught:
        inside(some_inputs(endpoint=PlaneEndpoint("api.example.org", 443)), TEMPLATES)

    assert "addresses" in caught.value.message


def test_should_let_the_machine_operator_read_one_secret_only() -> None:
    rules = the("Role", "demo-machine-operator")["rules"]

    assert [rule for rule in rules if "secrets" in rule["resources"]] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["demo-ssh"], "verbs": ["get"]}
    ]
    assert not any("operationgrants/status" in rule["resources"] or "*" in rule["resources"] for rule in rules)


def test_should_pass_flags_of_the_machine_operator_as_arguments() -> None:
    inputs = some_inputs(package=a_package(machineOperator={"probe-seconds": "10"}))
    (deployment,) = (m for m in desired_plane(inputs, TEMPLATES).components["machine-operator"] if m["kind"] == "Deployment")

    assert arguments_of(deployment) == ["--probe-seconds=10"]


def test_should_say_which_template_is_broken() -> None:
    broken = {**TEMPLATES, "scheduler.yaml.j2": "spec: {{ no_such_thing }}"}

    with pytest.raises(KokError) as caught:
        desired_plane(some_inputs(), broken)

    assert caught.value.code is ErrorCode.TemplateInvalid
    assert "scheduler" in caught.value.message
    assert "no_such_thing" in caught.value.message


def test_should_give_the_same_manifests_for_the_same_inputs() -> None:
    inputs = some_inputs(a_cluster(**LARGE))

    assert desired_plane(inputs, TEMPLATES) == desired_plane(inputs, dict(reversed(TEMPLATES.items())))


PLAIN_ARGUMENTS = arguments_of(Renderer(some_inputs(), TEMPLATES).render("scheduler")[-1])


@settings(max_examples=60, deadline=None)
@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=80))
def test_should_pass_any_text_as_one_argument(value: str) -> None:
    inputs = some_inputs(a_cluster(flags={"scheduler": {"some-flag": value}}))

    args = arguments_of(Renderer(inputs, TEMPLATES).render("scheduler")[-1])

    assert [argument for argument in args if argument.startswith("--some-flag")] == [f"--some-flag={value}"]
    assert set(args) - {f"--some-flag={value}"} == set(PLAIN_ARGUMENTS)


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60).filter(lambda text: not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)))
def test_should_carry_any_text_through_a_template_unchanged(text: str) -> None:
    probe = {**TEMPLATES, "scheduler.yaml.j2": "spec: {a: {{ package.components.scheduler.image }}, b: [{{ 1 }}]}\nlast: {{ true }}"}
    package = a_package()
    scheduler = package.spec.components.scheduler.model_copy(update={"image": text})
    components = package.spec.components.model_copy(update={"scheduler": scheduler})
    spec = package.spec.model_copy(update={"components": components})

    rendered = Renderer(some_inputs(package=package.model_copy(update={"spec": spec})), probe).render("scheduler")

    assert rendered == ({"spec": {"a": text, "b": [1]}, "last": True},)


def test_should_say_on_cluster_scoped_objects_whose_they_are() -> None:
    outside = [m for m in desired_plane(some_inputs(), TEMPLATES).components["machine-operator"] if "namespace" not in m["metadata"]]

    assert [m["kind"] for m in outside] == ["ClusterRole", "ClusterRoleBinding"]
    assert {m["metadata"]["labels"][LABEL_NAMESPACE] for m in outside} == {"demo"}


@pytest.mark.parametrize("component", ["etcd", "apiserver"])
def test_should_wish_for_different_nodes_and_zones(component: str) -> None:
    """By affinity: the scheduler leaves nodes that lack one key of a pod's spread constraints out of the scoring of all of them."""
    (workload,) = [m for m in masters(**LARGE) if m["metadata"]["labels"][LABEL_COMPONENT] == component]
    pod = workload["spec"]["template"]
    assert {each["topologyKey"] for each in pod["spec"]["topologySpreadConstraints"]} == {"kubernetes.io/hostname"}
    wishes = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    terms = [wish["podAffinityTerm"] for wish in wishes]
    assert [term["topologyKey"] for term in terms] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(term["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items() for term in terms)
