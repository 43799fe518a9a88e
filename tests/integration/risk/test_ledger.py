"""The Ledger under fire: two risk centres at once, storms of conflicts, a Ledger that is gone, lost or another's, and death after every write."""

from __future__ import annotations

import asyncio

import pytest

from operators.adapters.grants_kube import GRANTS, KubeGrants, manifest_of
from operators.adapters.kube import KubeClient
from operators.api.risk import Decision, OperationGrant, Outcome
from operators.domain.risk.decide import Ask, Denied, Granted, ask_of
from operators.domain.risk.identity import EntryKey
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Waiting
from operators.ports.kube import Conflict, KubePort, Manifest, Ref
from operators.services.ledger import TRIES, ledger_ref
from operators.services.ledger_origin import rebuild_ledger
from tests.integration.kube_proxies import CrashingKube, Killed, RecordingKube
from tests.integration.risk.risk_centres import Centre, Clock, denied, empty_ledger, granted, request, stored_grant

pytestmark = pytest.mark.integration
ROUNDS = 100


def ask(namespace: str, host: str, pool: str) -> Ask:
    wanted = request(namespace, host)
    manifest = manifest_of(wanted, 0)
    manifest["metadata"]["uid"] = "uid"
    manifest["spec"]["target"]["pool"] = pool
    return ask_of(OperationGrant.parse(manifest))


async def test_should_never_grant_two_when_two_risk_centres_race(centre: Centre, another_kube: KubeClient, clock: Clock) -> None:
    """Split brain: both lead, with the same epoch, and answer two hosts of one pool at the same moment; a new pool each round."""
    other = Centre(another_kube, centre.namespace, clock)
    winners = []
    for number in range(ROUNDS):
        asks = [ask(centre.namespace, f"{host}-{number}", f"pool-{number}") for host in ("a", "b")]
        verdicts = await asyncio.gather(centre.ledger.reserve(asks[number % 2]), other.ledger.reserve(asks[1 - number % 2]))
        yes = [verdict for verdict in verdicts if isinstance(verdict, Granted)]
        assert len(yes) == 1, verdicts
        winners.append(verdicts.index(yes[0]))
        await centre.ledger.release([EntryKey(yes[0].entry.namespace, yes[0].entry.op_id)])
    assert set(winners) == {0, 1}, "one of them always came first: that was no race"
    assert (await centre.stored()).spec.in_flight == ()


async def test_should_grant_two_without_the_compare(
    centre: Centre, another_kube: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control of the race."""

    async def last_writer_wins(self: KubeClient, ref: Ref, patch: Manifest, *, resource_version: str = "", **rest: object) -> Manifest:
        return await original(self, ref, patch, **rest)  # type: ignore[arg-type]

    original = KubeClient.patch_json
    monkeypatch.setattr(KubeClient, "patch_json", last_writer_wins)
    other, doubles = Centre(another_kube, centre.namespace, clock), 0
    for number in range(20):
        pair = [ask(centre.namespace, f"{host}-{number}", f"pool-{number}") for host in ("a", "b")]
        verdicts = await asyncio.gather(centre.ledger.reserve(pair[0]), other.ledger.reserve(pair[1]))
        doubles += all(isinstance(verdict, Granted) for verdict in verdicts)
    assert doubles > 0


async def test_should_agree_on_one_answer_for_one_grant(centre: Centre, another_kube: KubeClient, grants: KubeGrants, clock: Clock) -> None:
    """Both answer the same two requests, each in its own order: one Granted, one Denied, and the statuses say what the Ledger says."""
    other = Centre(another_kube, centre.namespace, clock)
    for number in range(10):
        names = []
        for host in (f"a-{number}", f"b-{number}"):
            await grants.ask(request(centre.namespace, host))
            names.append(manifest_of(request(centre.namespace, host), 0)["metadata"]["name"])
        await asyncio.gather(*(one.until_quiet(name) for one, order in ((centre, names), (other, names[::-1])) for name in order))
        stored = [OperationGrant.parse(item) for item in (await centre.kube.list(GRANTS, namespace=centre.namespace)).items]
        decisions = {grant.metadata.name: grant.status.decision for grant in stored if grant.status and grant.metadata.name in names}
        assert sorted(decisions.values()) == [Decision.Denied, Decision.Granted]
        (winner,) = [entry.op_id for entry in (await centre.stored()).spec.in_flight]
        assert decisions[winner] is Decision.Granted
        await centre.ledger.release([EntryKey(centre.namespace, winner)])


async def test_should_stay_exact_in_a_storm_of_conflicts(centre: Centre, clock: Clock) -> None:
    """16 risk centres at once, each for a pool of its own: whoever is told yes stands in the Ledger, whoever is not does not."""
    asks = [ask(centre.namespace, f"h{number}", f"pool-{number}") for number in range(16)]
    centres = [Centre(centre.kube, centre.namespace, clock) for _ in asks]
    verdicts = await asyncio.gather(*(one.ledger.reserve(each) for one, each in zip(centres, asks, strict=True)))
    yes = {each.key for each, verdict in zip(asks, verdicts, strict=True) if isinstance(verdict, Granted)}
    no = [verdict for verdict in verdicts if isinstance(verdict, Denied)]
    assert yes == {EntryKey(entry.namespace, entry.op_id) for entry in (await centre.stored()).spec.in_flight}
    assert yes, "nobody got through"
    assert no, "that was no storm"
    assert all(verdict.code is ErrorCode.Conflict and verdict.retry_after > 0 for verdict in no)


async def test_should_not_storm_at_itself(centre: Centre) -> None:
    """The workers of one risk centre take turns."""
    asks = [ask(centre.namespace, f"h{number}", f"pool-{number}") for number in range(16)]
    verdicts = await asyncio.gather(*(centre.ledger.reserve(each) for each in asks))
    assert all(isinstance(verdict, Granted) for verdict in verdicts)


class Stormy(RecordingKube):
    """Somebody else writes to the Ledger right before each of our writes."""

    async def patch_json(self, ref: Ref, patch: Manifest, **rest: object) -> Manifest:  # type: ignore[override]
        await self.kube.patch_json(ref, {"metadata": {"annotations": {"storm": str(len(self.attempts))}}})
        self.attempts.append(ref)
        return await super().patch_json(ref, patch, **rest)  # type: ignore[arg-type]

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube)
        self.attempts: list[Ref] = []


async def test_should_deny_after_a_bounded_number_of_conflicts(centre: Centre, clock: Clock) -> None:
    stormy = Stormy(centre.kube)
    verdict = await Centre(stormy, centre.namespace, clock).ledger.reserve(ask(centre.namespace, "a", "workers"))
    assert isinstance(verdict, Denied)
    assert "could not be changed in 5 tries: others write to it" in verdict.message
    assert len(stormy.attempts) == TRIES
    with pytest.raises(Conflict):
        await stormy.patch_json(ledger_ref(centre.namespace), {}, resource_version="1")


async def test_should_deny_everything_without_a_ledger(centre: Centre, grants: KubeGrants) -> None:
    held = await granted(grants, centre, request(centre.namespace, "a"))
    assert await centre.kube.delete(ledger_ref(centre.namespace))
    answer = await denied(grants, centre, request(centre.namespace, "b"))
    assert answer.denied
    assert "does not exist: every dangerous operation is denied" in answer.message
    await grants.settle(held, Outcome.Succeeded)
    await centre.settle_down()
    assert (await stored_grant(centre.kube, held)).status.settled_at is None  # type: ignore[union-attr]
    assert await centre.kube.get(ledger_ref(centre.namespace)) is None, "an operator made it anew"


async def test_should_deny_when_the_ledger_may_not_be_read(centre: Centre, kube_as: object, clock: Clock) -> None:
    blind = kube_as("nobody")  # type: ignore[operator]
    verdict = await Centre(blind, centre.namespace, clock).ledger.reserve(ask(centre.namespace, "a", "workers"))
    assert isinstance(verdict, Denied)
    assert verdict.code is ErrorCode.LedgerUnreadable


async def test_should_deny_once_a_later_risk_centre_took_over(centre: Centre, another_kube: KubeClient, clock: Clock) -> None:
    later = Centre(another_kube, centre.namespace, clock, epoch=2)
    assert isinstance(await later.ledger.reserve(ask(centre.namespace, "a", "workers")), Granted)
    verdict = await centre.ledger.reserve(ask(centre.namespace, "b", "gpu"))
    assert isinstance(verdict, Denied)
    assert "belongs to the risk centre of epoch 2; this one, of epoch 1, is older" in verdict.message
    with pytest.raises(KokError):
        await centre.ledger.release([ask(centre.namespace, "a", "workers").key])


async def test_should_keep_what_a_newer_version_wrote_into_entries(centre: Centre) -> None:
    """The list is written back as it was read. (The API server prunes what the CRD does not know, so the patch itself is looked at.)"""
    await centre.ledger.reserve(ask(centre.namespace, "a", "workers"))
    recording = _Patches(centre.kube)
    await Centre(recording, centre.namespace, centre.clock).ledger.reserve(ask(centre.namespace, "b", "gpu"))
    assert [entry.get("window") for entry in recording.patches[0]["spec"]["inFlight"]] == ["kept", None]


class _Patches(RecordingKube):
    """Adds a field to what is read, and writes down what is patched."""

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube)
        self.patches: list[Manifest] = []

    async def get(self, ref: Ref, **rest: object) -> Manifest | None:  # type: ignore[override]
        manifest = await super().get(ref, **rest)  # type: ignore[arg-type]
        for entry in (manifest or {}).get("spec", {}).get("inFlight", []):
            entry["window"] = "kept"
        return manifest

    async def patch_json(self, ref: Ref, patch: Manifest, **rest: object) -> Manifest:  # type: ignore[override]
        self.patches.append(patch)
        return await super().patch_json(ref, patch, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("writes", [1, 2])
async def test_should_spend_once_when_it_dies_after_a_write(centre: Centre, grants: KubeGrants, clock: Clock, writes: int) -> None:
    """1: the Ledger is written and nobody was told; 2: the answer is written, too."""
    wanted = request(centre.namespace, "a")
    await grants.ask(wanted)
    name = manifest_of(wanted, 0)["metadata"]["name"]
    dying = CrashingKube(centre.kube, after=writes)
    with pytest.raises(Killed):
        await Centre(dying, centre.namespace, clock).until_quiet(name)
    (before,) = (await centre.stored()).spec.in_flight
    clock.ahead += 30
    answer = await granted(grants, centre, wanted)
    assert (await centre.stored()).spec.in_flight == (before,)
    status = (await stored_grant(centre.kube, answer)).status
    assert status is not None
    assert (status.decided_at, status.expires_at) == (before.granted_at, before.expires_at)
    assert isinstance(await denied(grants, centre, request(centre.namespace, "b")), Waiting)


@pytest.mark.parametrize("writes", [1, 2])
async def test_should_free_once_when_it_dies_while_settling(centre: Centre, grants: KubeGrants, clock: Clock, writes: int) -> None:
    held = await granted(grants, centre, request(centre.namespace, "a"))
    await grants.settle(held, Outcome.Succeeded)
    dying = CrashingKube(centre.kube, after=writes)
    with pytest.raises(Killed):
        await Centre(dying, centre.namespace, clock).until_quiet(held.op_id)
    assert (await centre.stored()).spec.in_flight == ()
    await granted(grants, centre, request(centre.namespace, "b"))
    await centre.settle_down()
    status = (await stored_grant(centre.kube, held)).status
    assert status is not None
    assert (status.message, status.settled_at is not None) == ("its holder reported Succeeded", True)
    assert len((await centre.stored()).spec.in_flight) == 1


async def test_should_write_nothing_on_a_second_pass(centre: Centre, grants: KubeGrants, clock: Clock) -> None:
    held = await granted(grants, centre, request(centre.namespace, "a"))
    await denied(grants, centre, request(centre.namespace, "b"))
    gpu = await granted(grants, centre, request(centre.namespace, "c", target=held.target.model_copy(update={"name": "c", "pool": "gpu"})))
    await grants.settle(gpu, Outcome.Succeeded)
    await centre.settle_down()
    recording = RecordingKube(centre.kube)
    again = Centre(recording, centre.namespace, clock)
    await again.settle_down()
    clock.ahead += 60
    await again.tidy_up()
    assert recording.writes == []


async def test_should_rebuild_a_lost_ledger_only_when_asked(centre: Centre, grants: KubeGrants) -> None:
    held = await granted(grants, centre, request(centre.namespace, "a"))
    ref = ledger_ref(centre.namespace)
    with pytest.raises(KokError, match="nothing to rebuild"):
        await rebuild_ledger(centre.kube, epoch=3, namespace=centre.namespace)
    before = (await centre.stored()).spec.in_flight
    assert await centre.kube.delete(ref)
    await rebuild_ledger(centre.kube, epoch=3, namespace=centre.namespace)
    found = (await centre.stored()).spec
    assert [entry for entry in found.in_flight if entry.namespace == centre.namespace] == list(before)
    assert found.epoch == 3
    centre.epoch = 3
    answer = await denied(grants, centre, request(centre.namespace, "b"))
    assert held.op_id in answer.message


async def test_should_deny_and_be_rebuilt_when_the_ledger_is_not_understood(centre: Centre, grants: KubeGrants, clock: Clock) -> None:
    held = await granted(grants, centre, request(centre.namespace, "a"))
    (entry,) = (await centre.stored()).raw["inFlight"]
    newer = _Unknown(centre.kube)
    verdict = await Centre(newer, centre.namespace, clock).ledger.reserve(ask(centre.namespace, "c", "gpu"))
    assert isinstance(verdict, Denied)
    assert verdict.code is ErrorCode.LedgerUnreadable
    assert "spec.inFlight.0.operation" in verdict.message
    spec = await rebuild_ledger(newer, epoch=4, namespace=centre.namespace)
    assert held.op_id in {each.op_id for each in spec.in_flight}
    found = await centre.stored()
    assert entry in found.raw["inFlight"]
    assert found.spec.epoch == 4


class _Unknown(RecordingKube):
    """Shows an entry for an operation that this version does not know."""

    async def get(self, ref: Ref, **rest: object) -> Manifest | None:  # type: ignore[override]
        manifest = await super().get(ref, **rest)  # type: ignore[arg-type]
        for entry in (manifest or {}).get("spec", {}).get("inFlight", []):
            entry["operation"] = "FormatDisk"
        return manifest


async def test_should_never_make_a_first_ledger_itself(
    crds: None, kube: KubeClient, namespace: str, clock: Clock, grants: KubeGrants
) -> None:
    bare = Centre(kube, namespace, clock)
    assert (await denied(grants, bare, request(namespace))).denied
    await kube.create(empty_ledger(namespace))
    clock.ahead += 11
    await granted(grants, bare, request(namespace))
