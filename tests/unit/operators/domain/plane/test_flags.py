"""Which flag wins, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.adapters.catalogue_files import FileCatalogue
from operators.domain.plane import flags
from operators.domain.plane.desired import desired_plane
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.plane.rendered import a_cluster, a_package, some_inputs, templates

OWNED = [
    ("apiserver", "etcd-servers"),
    ("apiserver", "tls-cert-file"),
    ("apiserver", "client-ca-file"),
    ("apiserver", "etcd-servers-overrides"),
    ("apiserver", "anonymous-auth"),
    ("apiserver", "authorization-mode"),
    ("apiserver", "token-auth-file"),
    ("apiserver", "service-cluster-ip-range"),
    ("controllerManager", "cluster-signing-key-file"),
    ("controllerManager", "kubeconfig"),
    ("scheduler", "bind-address"),
    ("etcd", "data-dir"),
    ("etcd", "client-transport-security"),
]


def test_should_let_the_cluster_win_over_the_package_over_the_template() -> None:
    inputs = some_inputs(a_cluster(flags={"apiserver": {"v": "4"}}), a_package(apiserver={"v": "3", "profiling": "true"}))

    args = desired_plane(inputs, templates()).components["apiserver"][-1]["spec"]["template"]["spec"]["containers"][0]["args"]

    assert "--v=4" in args
    assert "--profiling=true" in args
    assert "--enable-admission-plugins=NodeRestriction" in args


@pytest.mark.parametrize(("component", "flag"), OWNED)
def test_should_refuse_an_owned_flag_by_name(component: str, flag: str) -> None:
    inputs = some_inputs(a_cluster(flags={component: {flag: "x"}}))

    with pytest.raises(KokError) as caught:
        desired_plane(inputs, templates())

    assert caught.value.code is ErrorCode.FlagOwned
    assert flag in caught.value.message
    assert caught.value.hint == f"remove spec.flags.{component}.{flag}"


def test_should_refuse_an_unknown_component_by_name() -> None:
    with pytest.raises(KokError) as caught:
        desired_plane(some_inputs(a_cluster(flags={"kubelet": {"v": "2"}})), templates())

    assert caught.value.code is ErrorCode.FlagUnknownComponent
    assert "spec.flags.kubelet" in caught.value.message
    assert "controllerManager" in caught.value.hint


@pytest.mark.parametrize("name", ["--v", "v --tls-cert-file", "V", "a=b", "tls_cert_file", "v\n", ""])
def test_should_refuse_what_is_no_name_of_a_flag(name: str) -> None:
    with pytest.raises(KokError) as caught:
        flags.arguments({name: "1"}, component="apiserver", owned={}, defaults={})

    assert caught.value.code is ErrorCode.FlagUnknown


@pytest.mark.parametrize(
    ("flag", "value", "written"),
    [("quota-backend-bytes", "1073741824", 1073741824), ("enable-pprof", "true", True), ("auto-compaction-retention", "1", "1")],
)
def test_should_write_etcd_settings_in_their_type(flag: str, value: str, written: object) -> None:
    types = {"quota-backend-bytes": "integer", "enable-pprof": "boolean", "auto-compaction-retention": "text"}

    assert flags.settings({flag: value}, component="etcd", owned={}, defaults={flag: 0}, settable=types) == {flag: written}


@pytest.mark.parametrize(("flag", "value"), [("quota-backend-bytes", "8GiB"), ("quota-backend-bytes", "-1"), ("made-up", "1")])
def test_should_refuse_an_etcd_setting_that_does_not_fit(flag: str, value: str) -> None:
    with pytest.raises(KokError) as caught:
        desired_plane(some_inputs(a_cluster(flags={"etcd": {flag: value}})), templates())

    assert caught.value.code is ErrorCode.FlagUnknown
    assert flag in caught.value.message


@given(values=st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True), st.text(max_size=20), max_size=6))
def test_should_write_each_flag_as_exactly_one_argument(values: dict[str, str]) -> None:
    written = flags.arguments(values, component="x", owned={}, defaults={"kept": 1})

    assert sorted(written) == sorted(f"--{name}={value}" for name, value in ({"kept": "1"} | values).items())


KNOWN = FileCatalogue().component_flags("1.35.4")


@pytest.mark.parametrize(
    ("component", "flag", "hint"),
    [
        ("apiserver", "audit-log-maxaeg", "write audit-log-maxage if that is meant, or remove it"),
        ("scheduler", "zzzzzzzz", "remove it"),
        ("controllerManager", "etcd-prefix", "remove it"),
    ],
)
def test_should_refuse_a_flag_that_a_component_does_not_take(component: str, flag: str, hint: str) -> None:
    with pytest.raises(KokError) as caught:
        flags.refuse_unknown(a_package(), a_cluster(flags={component: {flag: "1"}}), KNOWN)
    assert caught.value.code is ErrorCode.FlagUnknown
    assert caught.value.message == f"spec.flags.{component}.{flag}: {component} 1.35.4 has no flag --{flag} and would not start"
    assert caught.value.hint == hint


def test_should_say_that_an_unknown_flag_is_the_packages() -> None:
    with pytest.raises(KokError, match=r"ClusterPackageVersion kubernetes-1\.35\.4-r1: flags of scheduler: made-up"):
        flags.refuse_unknown(a_package(scheduler={"made-up": "1"}), a_cluster(), KNOWN)


def test_should_let_pass_what_is_known_and_what_cannot_be_judged() -> None:
    flags.refuse_unknown(a_package(), a_cluster(flags={"apiserver": {"audit-log-maxage": "7", "v": "2"}, "etcd": {"x": "1"}}), KNOWN)
    flags.refuse_unknown(a_package(), a_cluster(flags={"apiserver": {"made-up": "7"}}), {})


def test_should_know_every_flag_that_the_templates_set() -> None:
    """Also a check that the lists are whole: what kok itself starts masters with must be in them."""
    plane = desired_plane(some_inputs(), templates())
    for component, workload in (("apiserver", "apiserver"), ("controllerManager", "controller-manager"), ("scheduler", "scheduler")):
        pods = [each["spec"]["template"]["spec"] for each in plane.components[workload] if each["kind"] == "Deployment"]
        words = [*pods[0]["containers"][0].get("command", ()), *pods[0]["containers"][0].get("args", ())]
        used = {word[2:].split("=")[0] for word in words if word.startswith("--")}
        assert used, component
        assert used - KNOWN[component] == set()
