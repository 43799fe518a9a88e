"""Probes, tokens, claims, the board and keys: small parts with one rule each."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from operators.domain.machine.host import DesiredPackage, HostReport
from operators.domain.machine.release import Verdict
from operators.engine.cache import ObjectCache
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.board import Board
from operators.machine_operator.claims import claim_name
from operators.machine_operator.probes import Probes, Question
from operators.machine_operator.tokens import bootstrap_kubeconfig, read_token, token_manifest, token_ref
from operators.ports.kube import Key
from operators.ports.ssh import SshTarget
from tests.unit.operators.domain.machine.builders import report

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TARGET = SshTarget("m1", "10.0.0.1", 22, "root", ("k",), "key")


class Ssh:
    def __init__(self) -> None:
        self.error: KokError | None = None

    async def probe(self, target: SshTarget, wanted: tuple[DesiredPackage, ...], *, deadline: float) -> HostReport:
        if self.error:
            raise self.error
        return report()


async def test_should_look_again_only_when_the_answer_is_old_or_the_question_new() -> None:
    now = [NOW]
    probes = Probes(Ssh(), now=lambda: now[0])
    question = Question(TARGET, (), ("1",))
    await probes.look("m1", question, max_age=60)
    await probes.look("m1", question, max_age=60)
    assert probes.looks == 1
    await probes.look("m1", Question(TARGET, (), ("2",)), max_age=60)
    assert probes.looks == 2
    now[0] += timedelta(seconds=61)
    await probes.look("m1", Question(TARGET, (), ("2",)), max_age=60)
    assert probes.looks == 3


async def test_should_take_a_refusal_for_an_answer() -> None:
    ssh = Ssh()
    ssh.error = KokError(ErrorCode.HostRefused, "no")
    probe = await Probes(ssh, now=lambda: NOW).look("m1", Question(TARGET, (), ()), max_age=60)
    assert (probe.report, probe.error) == (None, ssh.error)


def test_should_bind_a_token_to_one_machine_for_fifteen_minutes() -> None:
    manifest = token_manifest("m1", "uid-1", cluster="demo", now=NOW)
    data = {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
    assert manifest["metadata"]["name"] == token_ref("uid-1").name == f"bootstrap-token-{data['token-id']}"
    assert len(data["token-id"]) == 6
    assert len(data["token-secret"]) == 16
    assert data["auth-extra-groups"] == "system:bootstrappers:kok:m1"
    assert "usage-bootstrap-signing" not in data
    found = read_token(manifest, "m1")
    assert found is not None
    assert found.token.expires == NOW + timedelta(minutes=15)
    assert read_token(manifest, "m2") is None, "a token of another machine is none"
    assert found.secret not in repr(found)
    text = bootstrap_kubeconfig(found, server="https://10.0.0.9:6443", ca_pem="CA")
    assert f"{data['token-id']}.{data['token-secret']}" in text


def test_should_name_a_claim_by_the_hosts_identity() -> None:
    assert claim_name("10.0.0.1", 22) == claim_name("10.0.0.1", 22)
    assert len({claim_name("10.0.0.1", 22), claim_name("10.0.0.1", 23), claim_name("10.0.0.2", 22)}) == 3


def test_should_wake_the_pool_only_when_a_verdict_changes() -> None:
    woken: list[str] = []
    board = Board(woken.append)
    verdict = Verdict(("a",), True, False, "fine")
    for _ in range(3):
        board.post("m1", verdict, pool="workers")
    board.post("m1", Verdict(("a",), False, False, "fine"), pool="workers")
    assert woken == ["workers", "workers"]
    board.forget("m1")
    assert not board.verdicts


def test_should_wake_whom_a_change_concerns() -> None:
    cache = ObjectCache(lambda _: None)
    for watched in (*kinds.meta_kinds(lambda: cache, "demo", "machine-operator/demo"), *kinds.business_kinds("demo")):
        cache.follow(watched)
    watched_by = {watched.kind: watched for watched in cache.watched}
    pool = {
        "metadata": {"name": "workers", "namespace": "demo", "resourceVersion": "1"},
        "spec": {"hosts": [{"name": "m1", "address": "10.0.0.1"}]},
    }
    head = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePool"}
    cache.keep(watched_by[kinds.MACHINE_POOL], {**head, **pool}, told=True)
    workers, m1 = Key("pool", "demo", "workers"), Key("machine", "", "m1")
    assert set(watched_by[kinds.CLUSTER].keys_of({})) >= {workers, m1}
    spec = {"namespace": "demo", "pool": "workers", "host": "m1", "address": "10.0.0.1", "port": 22}
    assert set(watched_by[kinds.HOST_CLAIM].keys_of({"spec": spec})) == {workers, m1}
    assert set(watched_by[kinds.HOST_CLAIM].keys_of({"spec": {**spec, "namespace": "other"}})) == {workers, m1}
    assert not list(watched_by[kinds.HOST_CLAIM].keys_of({"spec": {**spec, "namespace": "other", "address": "10.0.0.7"}}))
    assert not list(watched_by[kinds.GRANT].keys_of({"spec": {"requester": "machine-operator/other", "target": {"name": "m1"}}}))
    assert list(watched_by[kinds.CONFIG_MAP].keys_of({"metadata": {"labels": {"kok.dev/machine": "m1"}}})) == [m1]
