"""What `kok upgrade`, `kok plan` and `kok rollout` do in the meta cluster: make FleetRollouts, ask for plans, write orders. One write each; no decision."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from meta_cluster.cli.access import CLUSTER, Meta, open_meta
from meta_cluster.cli.near import where_else
from meta_cluster.cli.options import Access
from meta_cluster.cli.plan_pods import lost_pods
from meta_cluster.cli.plan_view import BudgetLine, LostPods
from meta_cluster.cli.rollout_budgets import budget_lines
from meta_cluster.cli.rollout_idle import brought_by, left_to_change, unchanged_words, under_way
from meta_cluster.cli.rollout_view import ENDED, OVER, phase_of
from meta_cluster.cli.rollout_wish import UpgradeWords, canaries_of, labels_of, members_named, members_selected, rollout_manifest
from meta_cluster.cli.times import now_utc
from operators.api.base import API_VERSION
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, Forbidden, Kind, Manifest, NotFound

ROLLOUT = Kind(API_VERSION, "FleetRollout")
PACKAGE = Kind(API_VERSION, "ClusterPackageVersion")
MACHINE_PACKAGE = Kind(API_VERSION, "MachinePackageVersion")
MACHINE_POOL = Kind(API_VERSION, "MachinePool")
RELEASE, POOL_RELEASE = Kind(API_VERSION, "ClusterRelease"), Kind(API_VERSION, "MachinePoolRelease")
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
TRIES = 5
VERSIONS_SHOWN = 6
POLL = 0.3
ASKING = "kok.dev/asks-for-a-plan"
"""On FleetRollouts that only ask, and that who asked removes."""
LEFT_BEHIND = timedelta(minutes=10)


async def checked_manifest(meta: Meta, name: str, words: UpgradeWords, *, plan: bool = False) -> Manifest:
    """The FleetRollout that the words mean, with canaries found and the version there. Raises KokError Usage or NotFound."""
    words, selected = await _selected(meta, words)
    return await _signed(meta, name, words, selected, plan=plan)


async def _signed(meta: Meta, name: str, words: UpgradeWords, selected: Sequence[Manifest], *, plan: bool = False) -> Manifest:
    said = replace(words, by=await user_name(meta))
    return rollout_manifest(name or fresh_name(words.to), said, canaries_of(words.canaries, members_named(selected)), plan=plan)


async def _selected(meta: Meta, words: UpgradeWords) -> tuple[UpgradeWords, list[Manifest]]:
    """The words with what their version is, and the Clusters or pools that they mean: at least one. Raises KokError."""
    labels = labels_of(words.selector)
    rollout_manifest("check", words, ())  # before anybody is asked
    to, of_machines = await _version_named(meta, words.to)
    words = replace(words, to=to, of_machines=of_machines)
    members = MACHINE_POOL if words.of_machines else CLUSTER
    selected = members_selected((await meta.kube.list(members)).items, labels)
    if not selected:
        raise KokError(
            ErrorCode.SelectorEmpty,
            f"--selector {words.selector}: no {members.kind} has these labels",
            f"kubectl get {members.kind.lower()}s.kok.dev -A --show-labels",
        )
    return words, selected


async def _version_named(meta: Meta, to: str) -> tuple[str, bool]:
    """The version that `to` means, and whether it is one of machines. Raises KokError NotFound with what there is."""
    planes = sorted(each["metadata"]["name"] for each in (await meta.kube.list(PACKAGE)).items)
    if to in planes:
        return to, False
    machines = sorted(each["metadata"]["name"] for each in (await meta.kube.list(MACHINE_PACKAGE)).items)
    if to in machines:
        return to, True
    raise unknown_version(to, planes, machines)


def unknown_version(to: str, planes: Sequence[str], machines: Sequence[str]) -> KokError:
    """What there is in its place: packages of the component that the name begins with, else every version of planes."""
    component = to.partition("-")[0]
    alike = [name for name in (*planes, *machines) if name.partition("-")[0] == component]
    shown = alike or planes
    more = f" and {len(shown) - VERSIONS_SHOWN} more" if len(shown) > VERSIONS_SHOWN else ""
    there = f"there is {', '.join(shown[:VERSIONS_SHOWN])}{more}" if shown else "there is none yet"
    add = "" if alike and alike[0] in machines else "; another Kubernetes: kok lab up --with VERSION (lab), kok meta install (elsewhere)"
    return KokError(ErrorCode.NotFound, f"--to {to}: no package version has that name", f"{there}{add}")


def fresh_name(to: str) -> str:
    """A name that nobody has: the version and four digits."""
    return f"{to[:200]}-{secrets.token_hex(2)}"


async def user_name(meta: Meta) -> str:
    """Who we are to the API server; empty where it does not say."""
    try:
        answer = await meta.kube.create(REVIEW)
    except KokError:
        return ""
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")


async def started(access: Access, name: str, words: UpgradeWords) -> Manifest | str:
    """Make it; or why none was made: nobody is left to change. Raises KokError."""
    async with open_meta(access) as meta:
        words, selected = await _selected(meta, words)
        manifest = await _signed(meta, name, words, selected)
        releases = await _releases(meta, of_machines=words.of_machines)
        brought = await _brought(meta) if words.of_machines else {}
        if not left_to_change(words.to, selected, releases, brought):
            return unchanged_words(words.to, words.selector, selected, under_way(words.to, selected, releases))
        return await meta.kube.create(manifest)


async def _releases(meta: Meta, *, of_machines: bool) -> dict[str, Manifest]:
    """By namespace/name. None for who may not read them: then the operators find out who is left to change."""
    try:
        listing = await meta.kube.list(POOL_RELEASE if of_machines else RELEASE)
    except Forbidden:
        return {}
    return {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in listing.items}


async def _brought(meta: Meta) -> dict[str, Collection[str]]:
    """What pools get that follow their Cluster. None for who may not read it, as above."""
    try:
        return brought_by((await meta.kube.list(RELEASE)).items, (await meta.kube.list(PACKAGE)).items)
    except Forbidden:
        return {}


async def drafted(access: Access, name: str, words: UpgradeWords) -> Manifest:
    """What would be made, for Git: not signed, for whoever applies it is another."""
    async with open_meta(access) as meta:
        made = await checked_manifest(meta, name, words)
    said = {key: value for key, value in made["spec"].pop("said", {}).items() if key != "by"}
    return {**made, "spec": {**made["spec"], **({"said": said} if said else {})}}


async def planned(access: Access, words: UpgradeWords, seconds: float) -> tuple[Manifest, list[BudgetLine], list[LostPods]]:
    """The operators' answer to mode Plan, what budgets say of it, and the pods it loses; the object that asked is removed again. Raises KokError Timeout."""
    async with open_meta(access) as meta:
        manifest = await checked_manifest(meta, f"plan-{secrets.token_hex(4)}", words, plan=True)
        manifest["metadata"]["labels"] = {ASKING: "true"}
        ref = ROLLOUT.ref(manifest["metadata"]["name"])
        await _tidied(meta)
        await meta.kube.create(manifest)
        try:
            answer = await _answered(meta, manifest["metadata"]["name"], seconds)
        finally:
            await meta.kube.delete(ref)
        return answer, await budget_lines(meta, answer), await lost_pods(meta, answer)


async def _tidied(meta: Meta) -> None:
    """Remove what a command that was killed left behind."""
    for each in (await meta.kube.list(ROLLOUT, selector=f"{ASKING}=true")).items:
        made = datetime.fromisoformat(each["metadata"]["creationTimestamp"])
        if now_utc() - made > LEFT_BEHIND and each["spec"].get("mode") == "Plan":
            await meta.kube.delete(ROLLOUT.ref(each["metadata"]["name"]))


async def _answered(meta: Meta, name: str, seconds: float) -> Manifest:
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() < ends:
        found = await meta.kube.get(ROLLOUT.ref(name))
        if found and phase_of(found) in ("Planned", "Refused"):
            return found
        await asyncio.sleep(POLL)
    raise KokError(
        ErrorCode.Timeout, f"no Cluster-Operator answered the plan within {seconds:.0f} s", "kok meta status shows whether one is running"
    )


async def rollout_named(meta: Meta, name: str) -> Manifest:
    """The FleetRollout. Raises KokError NotFound."""
    found = await meta.kube.get(ROLLOUT.ref(name))
    if found is None:
        hint = await where_else(meta.kube, ROLLOUT, name, "", "kok rollout list shows what there is")
        raise KokError(ErrorCode.NotFound, f"there is no FleetRollout {name}", hint)
    return found


Change = Callable[[Manifest], Mapping[str, Any]]
"""From the rollout as it is to the fields of spec to write. Raises KokError Usage where the order makes no sense."""


async def ordered(access: Access, name: str, change: Change, reason: str) -> Manifest:
    """Write an order, with who gives it and why, onto what was read; read again when somebody wrote in between."""
    async with open_meta(access) as meta:
        said = {"by": await user_name(meta), "reason": reason}
        for _ in range(TRIES):
            found = await rollout_named(meta, name)
            patch = {"spec": {**change(found), "said": said}}
            try:
                return await meta.kube.patch_json(ROLLOUT.ref(name), patch, resource_version=found["metadata"]["resourceVersion"])
            except Conflict:
                continue
            except NotFound as error:
                raise KokError(ErrorCode.NotFound, f"FleetRollout {name} was removed meanwhile", "kok rollout list") from error
    raise KokError(ErrorCode.Conflict, f"FleetRollout {name} is written all the time; the order was not given", "try it again")


def pause(rollout: Manifest) -> Mapping[str, Any]:
    """Nothing new starts."""
    _not_ended(rollout, "there is nothing to pause")
    return {"order": "Pause"}


def resume(rollout: Manifest, accept: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Go on; `accept` names failed stages that do not matter, or `rollback`, or `harm`."""
    _not_ended(rollout, "there is nothing to resume")
    names = [*(stage["name"] for stage in rollout["spec"]["stages"]), "rollback", "harm"]
    if unknown := [each for each in accept if each not in names]:
        raise KokError(ErrorCode.Usage, f"--accept {unknown[0]}: no such stage", f"one of {', '.join(names)}")
    accepted = dict.fromkeys((*(rollout["spec"].get("acceptedFailures") or ()), *accept))
    return {"order": "Go", **({"acceptedFailures": list(accepted)} if accept else {})}


def approve(rollout: Manifest, stage: str = "") -> Mapping[str, Any]:
    """Say yes to a stage: the named one, or the next that waits for it."""
    _not_ended(rollout, "there is nothing to approve")
    spec = rollout["spec"]
    asking = [each["name"] for each in spec["stages"] if each.get("approval")]
    given = list(spec.get("approvals") or ())
    if stage and stage not in asking:
        names = ", ".join(asking) or "none of its stages"
        raise KokError(ErrorCode.Usage, f"stage {stage} of {rollout['metadata']['name']} waits for no approval", f"{names} does")
    chosen = stage or next((name for name in asking if name not in given), "")
    if not chosen:
        raise KokError(ErrorCode.Usage, f"FleetRollout {rollout['metadata']['name']} waits for no further approval", "kok rollout status")
    return {"approvals": list(dict.fromkeys((*given, chosen)))}


def abort(rollout: Manifest) -> Mapping[str, Any]:
    """Stop and take back."""
    _not_ended(rollout, "kok rollout undo takes back what has ended well")
    return {"order": "Abort"}


def undo(rollout: Manifest, parallel: int | None = None) -> Mapping[str, Any]:
    """Take back, also after a good end; `parallel`: so many members at once."""
    phase = phase_of(rollout)
    if phase in OVER - {"Good"}:
        raise KokError(ErrorCode.Usage, f"FleetRollout {rollout['metadata']['name']} has ended {phase}: there is nothing to take back", "")
    return {"order": "Undo", **({"undo": {"maxParallel": parallel}} if parallel else {})}


def _not_ended(rollout: Manifest, otherwise: str) -> None:
    phase = phase_of(rollout)
    if phase in ENDED:
        raise KokError(ErrorCode.Usage, f"FleetRollout {rollout['metadata']['name']} has ended {phase}; {otherwise}", "kok rollout list")
