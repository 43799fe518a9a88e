"""`kok meta install`: the stages of an installation, in the order in which each needs the one before.

CRDs (until Established) -> namespace, rights, admission -> catalogue -> budgets and ledger (made once, never overwritten) -> operators
(until ready).
Running it again writes only what differs. Called by the CLI and by the lab; touches nothing but what `InstallManifests` holds and the Ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from meta_cluster.bootstrap.apply import Change, Mode, Verb, apply_object, create_immutable, create_object, read
from meta_cluster.bootstrap.manifests import InstallManifests
from meta_cluster.pods import PodTrouble, pod_trouble, says_the_same
from operators.api import API_VERSION
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubePort, Manifest, NotFound, Ref

SYSTEM_NAMESPACE = "kok-system"
LEDGER: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "Ledger",
    "metadata": {"name": "ledger", "namespace": SYSTEM_NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "kok"}},
    "spec": {},
}
Tell = Callable[[str], None]
"""Takes one line of progress."""
COLUMNS = 100
"""Of one line of progress."""
Applier = Callable[[KubePort, Manifest, Mode], Awaitable[Change]]


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What happened, or with Mode.Try would happen."""

    changes: tuple[Change, ...]

    @property
    def written(self) -> tuple[Change, ...]:
        """Those that are not as they were."""
        return tuple(change for change in self.changes if change.verb is not Verb.Unchanged)


@dataclass(slots=True)
class Installer:
    """One run. `kube` stores writes with Mode.Do, and was built with `dry_run` for Mode.Try; times are seconds."""

    kube: KubePort
    tell: Tell
    mode: Mode = Mode.Do
    patience: float = 180.0
    poll: float = 0.5
    rewrite: Tell | None = None
    """Takes what is waited for each time it changes, where a line can be rewritten in place; without it `tell` hears of it now and then."""
    quiet: float = 5.0
    """Seconds between two lines about waiting."""
    _changes: list[Change] = field(default_factory=list)

    async def run(self, manifests: InstallManifests) -> InstallReport:
        """Every stage in order. Raises KokError: PackageConflict, LedgerUnreadable, Timeout with what the pods say, or the API server's."""
        await self._stage("CustomResourceDefinitions", manifests.crds, apply_object)
        await self._wait(self._not_established, [Ref.of(m) for m in manifests.crds], "CustomResourceDefinitions to be established")
        await self._stage("namespace, rights, admission", manifests.base, apply_object)
        await self._stage("catalogue", manifests.catalogue, create_immutable)
        await self._stage("budgets", manifests.budgets, create_object)
        await self._ledger()
        await self._stage("operators", manifests.workloads, apply_object)
        await self._wait(self._not_ready, [Ref.of(m) for m in manifests.workloads], "operators to be ready")
        return InstallReport(tuple(self._changes))

    async def _stage(self, title: str, manifests: Sequence[Manifest], applier: Applier) -> None:
        changes = [await applier(self.kube, manifest, self.mode) for manifest in manifests]
        self._changes += changes
        counts = {verb: sum(change.verb is verb for change in changes) for verb in Verb}
        self.tell(f"{title}: " + ", ".join(f"{count} {verb}" for verb, count in counts.items() if count))

    async def _ledger(self) -> None:
        """Make the first one. A lost one is not made anew here: an empty Ledger would forget what is in flight."""
        if await read(self.kube, Ref.of(LEDGER)) is None and (grants := await self._grants()):
            raise KokError(
                ErrorCode.LedgerUnreadable,
                f"there are {grants} OperationGrants but no Ledger {SYSTEM_NAMESPACE}/ledger: it was deleted, and every dangerous operation is denied",
                "kok meta rebuild-ledger makes it anew from the grants; then install again",
            )
        await self._stage("ledger", [LEDGER], create_object)

    async def _grants(self) -> int:
        try:
            return len((await self.kube.list(Kind(API_VERSION, "OperationGrant"))).items)
        except NotFound:
            return 0

    async def _wait(self, waiting_for: Callable[[Ref], Awaitable[str]], refs: Sequence[Ref], what: str) -> None:
        """Until `waiting_for` says nothing of any ref; what it says is told when it changes."""
        if self.mode is Mode.Try:
            return
        deadline, last, told = time.monotonic() + self.patience, "", 0.0
        while True:
            reasons = [reason for ref in refs if (reason := await waiting_for(ref))]
            if not reasons:
                return
            if reasons[0] != last and (self.rewrite or time.monotonic() - told >= self.quiet):
                last, told = reasons[0], time.monotonic()
                (self.rewrite or self.tell)(progress_line(what, last))
            if time.monotonic() > deadline:
                raise KokError(
                    ErrorCode.Timeout,
                    f"after {self.patience:.0f} s still waiting for {what}: {'; '.join(reasons)}",
                    "correct it and run `kok meta install` again; it goes on where it stopped",
                )
            await asyncio.sleep(self.poll)

    async def _not_established(self, ref: Ref) -> str:
        crd = await self.kube.get(ref) or {}
        conditions = {c["type"]: c for c in (crd.get("status") or {}).get("conditions") or ()}
        if conditions.get("Established", {}).get("status") == "True":
            return await self._not_served(crd["spec"]["names"]["kind"])
        refusal = conditions.get("NonStructuralSchema") or conditions.get("NamesAccepted") or {}
        return f"{ref.name}: {refusal.get('message') or 'not established yet'}"

    async def _not_served(self, kind: str) -> str:
        """Discovery follows establishing a moment later."""
        try:
            await self.kube.list(Kind(API_VERSION, kind))
        except NotFound:
            return f"{kind} is not served yet"
        return ""

    async def _not_ready(self, ref: Ref) -> str:
        deployment = await self.kube.get(ref) or {}
        missing = missing_replicas(deployment)
        if not missing:
            return ""
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = (await self.kube.list(Kind("v1", "Pod"), namespace=ref.namespace, selector=selector)).items
        events = (await self.kube.list(Kind("v1", "Event"), namespace=ref.namespace)).items
        troubles = [trouble for pod in pods if (trouble := pod_trouble(pod, events))]
        why = "; ".join(dict.fromkeys(_told_once(trouble) for trouble in troubles))
        return f"{ref.name}: " + (f"{why}: {missing}" if why else missing)


def progress_line(what: str, reason: str) -> str:
    """One line of waiting, the cause first; cut where a terminal ends. What is waited for in vain is told whole."""
    line = f"waiting for {what} (usual at first): {reason}"
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"


def _told_once(trouble: PodTrouble) -> str:
    """With the last event, unless it repeats the sentence."""
    return (
        trouble.sentence if not trouble.event or says_the_same(trouble.event, trouble.sentence) else f"{trouble.sentence} ({trouble.event})"
    )


def missing_replicas(deployment: Manifest) -> str:
    """What of a Deployment is not rolled out and available, in words; empty if nothing."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    if not deployment or int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
        return "the controller has not seen it yet"
    counts = {key: int(status.get(key) or 0) for key in ("updatedReplicas", "availableReplicas", "replicas")}
    if counts["updatedReplicas"] == counts["availableReplicas"] == counts["replicas"] == wanted:
        return ""
    return f"{counts['availableReplicas']} of {wanted} pods available, {counts['updatedReplicas']} of them new"
