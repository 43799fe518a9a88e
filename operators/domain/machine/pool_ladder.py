"""What a pool needs next: the first rung with something to do. Pure; called by the pool controller.

Order: cluster readable and not paused > deleting > finalizer > what is wrong with the pool > what may be authorised > Machine objects > done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from operators.api.base import LABEL_CLUSTER, LABEL_POOL
from operators.api.machines import Machine
from operators.api.pools import HostRelease
from operators.domain.machine.orders import goes_back, in_force, limited, with_orders, words_of
from operators.domain.machine.pool_view import MACHINES_FINALIZER, PoolView
from operators.domain.machine.release import Batch, PoolHosts, is_in_service, next_release
from operators.domain.machine.steps import AddFinalizer, ApplyMachines, Done, RemoveFinalizer, Step, Wait, WriteRelease
from operators.domain.machine.wish import pool_problem, wished_packages
from operators.errors import ErrorCode, KokError


def next_pool_step(view: PoolView) -> Step:
    """The first rung that has something to do or to wait for."""
    for rung in (_unreadable, _deleting, _finalizer, _invalid, _unreleased):
        if step := rung(view):
            return step
    return _authorise(view)


def _unreadable(view: PoolView) -> Step | None:
    if view.cluster.problem:
        return Wait(reason=view.cluster.problem, after=30.0)
    if view.cluster.paused:
        return Wait(reason=f"Cluster {view.cluster.name} is paused: nothing is changed", after=None)
    return None


def _deleting(view: PoolView) -> Step | None:
    """The pool stays until its last host was given back; each machine's own ladder does that."""
    if not view.pool.deleting:
        return None
    if MACHINES_FINALIZER not in view.pool.metadata.finalizers:
        return Wait(reason="waits for other finalizers", after=None)
    names = view.pool.metadata.name
    left = sorted(set(view.own_claims) | {name for name, machine in view.machines.items() if machine.spec.pool == names})
    if left:
        return Wait(reason=f"{len(left)} hosts are still to be drained and cleaned: {_some(left)}{_held_up(view, left)}", after=None)
    return RemoveFinalizer(reason="every host was cleaned and given back", after=None)


def _held_up(view: PoolView, names: Sequence[str]) -> str:
    """What the first of these machines that says something waits for."""
    said = (machine.status.message for name in names if (machine := view.machines.get(name)) and machine.status)
    words = next(filter(None, said), "")
    return f" ({words})" if words else ""


def _finalizer(view: PoolView) -> Step | None:
    if MACHINES_FINALIZER in view.pool.metadata.finalizers:
        return None
    return AddFinalizer(reason="from now on deleting the pool cleans its hosts")


def problem_of(view: PoolView) -> KokError | None:
    """What is wrong with the pool before anything is touched; None if it can be worked on."""
    if view.release_problem:
        return view.release_problem
    if problem := pool_problem(view.pool, view.others, view.cluster.network):
        return problem
    if view.cluster_packages is None and view.pool.spec.packages.explicit is None:
        return None
    try:
        wished_packages(view.pool, view.cluster_packages or (), view.catalogue)
    except KokError as error:
        return error
    return None


def _invalid(view: PoolView) -> Step | None:
    problem = problem_of(view)
    if problem is None:
        return None
    return Wait(reason=f"{problem.message}; {problem.hint}", after=None, stalled=problem.code)


def _unreleased(view: PoolView) -> Step | None:
    if view.cluster_packages is not None or view.pool.spec.packages.explicit is not None:
        return None
    return Wait(reason=f"waits until Cluster {view.cluster.name} has a released package version", after=None)


def _authorise(view: PoolView) -> Step:
    """Write the next release, then make the Machines show it, then say what is still in hand."""
    batch = batch_of(view)
    if batch.hosts != tuple(sorted(view.released, key=lambda entry: entry.name)):
        return WriteRelease(reason=_change_words(view, batch), hosts=batch.hosts)
    if missing := tuple(entry for entry in batch.hosts if _wants_machine(view, entry)):
        words = f"makes Machines show what is authorised: {_some([e.name for e in missing])}"
        return ApplyMachines(reason=words, after=2.0, machines=missing)
    if foreign := sorted(view.foreign.items()):
        name, claim = foreign[0]
        owner = f"{claim.spec.namespace}/{claim.spec.pool}"
        words = f"host {name} ({claim.spec.address}:{claim.spec.port}) is claimed by pool {owner} (host {claim.spec.host}); remove it there first"
        return Wait(reason=words, after=None, stalled=ErrorCode.HostClaimed)
    return _in_hand(view, batch)


def _change_words(view: PoolView, batch: Batch) -> str:
    before = {entry.name: entry.packages for entry in view.released}
    after = {entry.name: entry.packages for entry in batch.hosts}
    if authorised := sorted(name for name in after if after[name] != before.get(name)):
        return f"authorises packages: {_some(authorised)}"
    if gone := sorted(before.keys() - after.keys()):
        return f"{_some(gone)} left: nothing is authorised for it any more"
    noted = sorted(e.name for e in batch.hosts if e not in view.released)
    return f"notes that {_some(noted)} came into service with what is authorised"


def batch_of(view: PoolView) -> Batch:
    """What shall be authorised now."""
    wished = wished_packages(view.pool, view.cluster_packages or (), view.catalogue)
    orders = in_force(view.orders, wished, view.catalogue)
    packages = with_orders(wished, orders, view.catalogue)
    claimed = frozenset(view.own_claims)
    hosts = PoolHosts(view.pool.spec.hosts, packages, view.released, view.verdicts, claimed, view.catalogue)
    if view.taken_back and view.pool.spec.packages.explicit is None:
        hosts = replace(hosts, taken_back=view.taken_back)
    if orders:
        hosts = replace(hosts, reason=words_of(orders), going_back=goes_back(orders))
    return next_release(hosts, limited(view.pool.spec.update, orders), now=view.now.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _wants_machine(view: PoolView, entry: HostRelease) -> bool:
    """Whether the Machine of a host that stays is missing or shows something else. One that is leaving is not made anew."""
    host = view.hosts.get(entry.name)
    claim, machine = view.own_claims.get(entry.name), view.machines.get(entry.name)
    if host is None:
        return False
    stays = claim is None or (claim.spec.address, claim.spec.port, claim.spec.pool_uid) == (host.address, host.port, view.pool.metadata.uid)
    return stays and (machine is None or not machine.deleting) and not _shows(machine, entry, view)


def _shows(machine: Machine | None, entry: HostRelease, view: PoolView) -> bool:
    if machine is None:
        return False
    labels = {LABEL_POOL: view.pool.metadata.name, LABEL_CLUSTER: view.cluster.name}
    return (
        set(machine.spec.packages) == set(entry.packages)
        and machine.spec.pool == view.pool.metadata.name
        and labels.items() <= machine.metadata.labels.items()
    )


def _in_hand(view: PoolView, batch: Batch) -> Step:
    names = [host.name for host in view.pool.spec.hosts]
    authorised = {entry.name: entry for entry in batch.hosts}
    open_now = [name for name in names if name in authorised and is_in_service(authorised[name], view.verdicts)]
    stalled = [name for name in names if name in view.verdicts and view.verdicts[name].is_stalled]
    leaving = sorted(set(view.own_claims) - set(names))
    if ours := next((view.verdicts[name].message for name in names if name in view.verdicts and view.verdicts[name].is_ours), ""):
        return Wait(reason=f"{len(open_now)} of {len(names)} hosts are open; {ours}", after=None, stalled=ErrorCode.ManyUnreachable)
    if batch.stalled:
        return Wait(reason=f"{len(open_now)} of {len(names)} hosts are open; {batch.waiting}", after=None, stalled=batch.stalled)
    if stalled:
        words = f"{len(open_now)} of {len(names)} hosts are open; {stalled[0]}: {view.verdicts[stalled[0]].message}"
        return Wait(reason=words, after=None)
    if batch.waiting:
        return Wait(reason=f"{len(open_now)} of {len(names)} hosts are open; {batch.waiting}", after=None)
    if leaving:
        return Wait(reason=f"{len(open_now)} of {len(names)} hosts are open; {_some(leaving)} is leaving", after=None)
    if len(open_now) < len(names):
        waiting = next(name for name in names if name not in open_now)
        return Wait(reason=f"{len(open_now)} of {len(names)} hosts are open; {waiting}: {_why_not(view, waiting)}", after=None)
    return Done(reason=f"{len(names)} of {len(names)} hosts are open", after=None)


def _why_not(view: PoolView, name: str) -> str:
    """What is said of a host that is not in service with what it is authorised for; one that was open is so with what it had before."""
    verdict = view.verdicts.get(name)
    if verdict is None:
        return "not looked at yet"
    return "not looked at yet with its new packages" if verdict.is_open else verdict.message


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
