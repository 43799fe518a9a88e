"""Every phase, stage and reason that conditions show and that is no error code: what `kok explain` prints beside those. Data; no API server is asked.

tests/unit/meta_cluster/cli/test_words.py holds it complete: a new word in operators/domain needs an entry here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """`where` it is shown, what it means in one sentence, and what to do if it lasts."""

    where: str
    meaning: str
    remedy: str


CLUSTER, MACHINE, BOTH = "phase of a Cluster", "phase of a Machine", "phase of a Cluster or Machine"
WHY_CLUSTER, WHY_MACHINE = "kok why cluster NAME -n NAMESPACE", "kok why machine NAME -n NAMESPACE"
FINE = "nothing: this is how it should be"
MOVES = "nothing: it goes on by itself"


def _kind(name: str) -> str:
    return f"reason of the condition {name}"


PHASES: dict[str, Word] = {
    "Creating": Word(
        CLUSTER, "its masters are brought up for the first time", f"{MOVES}, within about a minute; if it lasts: {WHY_CLUSTER}"
    ),
    "Deleting": Word(
        "phase of a Cluster or pool",
        "it is being deleted, in order: machines, masters, keys; the message shows what remains",
        f"{MOVES}; if it lasts: {WHY_CLUSTER}",
    ),
    "Ready": Word(CLUSTER, "everything is as wished, and its API answers", FINE),
    "Repairing": Word(
        CLUSTER,
        "something of a plane that was whole is missing, differs or does not answer, and is put back",
        f"{MOVES}; if it lasts: {WHY_CLUSTER}",
    ),
    "Stalled": Word(
        "phase of a Cluster, and a condition of every kind",
        "it will not go on until somebody corrects what the message names; what runs was left as it is",
        f"follow the code that is the condition's reason (kok explain CODE), or {WHY_CLUSTER}",
    ),
    "Upgrading": Word(
        CLUSTER,
        "the masters go to another version, component by component, each healthy before the next",
        f"{MOVES}; kok describe cluster shows the stage",
    ),
    "RollingBack": Word(
        CLUSTER, "the masters go back to an earlier version, in the reverse order", f"{MOVES}; kok describe cluster shows the stage"
    ),
    "Paused": Word(
        BOTH, "spec.paused of the Cluster is true: nothing is changed, what is observed is still shown", "set spec.paused to false to go on"
    ),
    "Waiting": Word(MACHINE, "it waits for something that the message names", f"{MOVES}; if it lasts: {WHY_MACHINE}"),
    "Claiming": Word(
        MACHINE,
        "the host is being taken for this pool (a HostClaim), so that no other pool may touch it",
        "if it lasts, another pool owns the host: the message names it",
    ),
    "Unreachable": Word(
        MACHINE,
        "the host cannot be looked at over SSH; nothing is done to it meanwhile",
        "the message holds SSH's own words; its code is the reason of the condition HostReachable",
    ),
    "Installing": Word(
        MACHINE, "its packages are installed for the first time", f"{MOVES}, within a minute or two; if it lasts: {WHY_MACHINE}"
    ),
    "Updating": Word(
        MACHINE,
        "something on the host differs from its packages and is put right, after a drain where the effect needs one",
        f"{MOVES}; if it lasts: {WHY_MACHINE}",
    ),
    "Registering": Word(
        MACHINE,
        "the packages are in place, and the kubelet has not registered its node yet, or the node is not Ready",
        f"if it lasts: {WHY_MACHINE}; journalctl -u kubelet on the host",
    ),
    "Gates": Word(
        MACHINE,
        "the node is there, and closed to new pods until every readiness gate holds",
        "the condition GatesOpen names the gate that does not hold; see to what should report it",
    ),
    "Open": Word(MACHINE, "its packages match, every gate holds, and the node takes pods", FINE),
    "Maintenance": Word(
        MACHINE,
        "an admin asked for it (spec.desiredState): the node is cordoned and drained, and kept",
        "set desiredState of the Machine to InService to open it again",
    ),
    "Leaving": Word(
        MACHINE,
        "the host is no longer in its pool: it is drained, its Node deleted, and kok's files removed from it",
        "docs/howto/take-a-host-out.md",
    ),
    "Decommissioned": Word(
        MACHINE,
        "an admin asked for it (spec.desiredState): drained and cleaned, and its Node is gone",
        "take the host out of its pool, or set desiredState to InService to install it again",
    ),
}
"""status.phase, and with it the reason of Ready and Reconciling."""

REASONS: dict[str, Word] = {
    "Done": Word(_kind("Reconciling"), "nothing is under way", FINE),
    "Progressing": Word(_kind("Stalled"), "it is not stalled: it is under way", MOVES),
    "Reconciling": Word(
        _kind("Ready of a pool"), "machines of the pool are being changed", f"{MOVES}; kok get machines -n NAMESPACE shows which"
    ),
    "Sound": Word(_kind("KeysReady"), "root keys and leaf certificates are sound", FINE),
    "PoolsRemain": Word(
        _kind("Ready of a Cluster that is being deleted"),
        "MachinePools still name this Cluster: their hosts are cleaned through its masters, so these stay until the pools are deleted",
        "give the command above: it waits for you",
    ),
    "RootKeysMissing": Word(
        _kind("KeysReady"),
        "a root key's Secret is missing or damaged; it is restored from its sealed copy",
        "if it lasts: kok explain KeysLost",
    ),
    "LeavesMissing": Word(
        _kind("KeysReady"), "a leaf certificate is missing, does not fit, or is about to expire; it is issued anew", MOVES
    ),
    "NoEndpoint": Word(
        _kind("KeysReady"),
        "certificates wait for the address of the API server, which the meta cluster has not given yet",
        "with type LoadBalancer: see whether the meta cluster has a load balancer (kubectl get service CLUSTER-apiserver)",
    ),
    "Up": Word(_kind("EtcdReady, ApiserverReady, ControllersReady, MachineOperatorReady"), "all pods of the component are ready", FINE),
    "Missing": Word(_kind("EtcdReady, ApiserverReady, ..."), "the component does not exist yet", MOVES),
    "NotUp": Word(
        _kind("EtcdReady, ApiserverReady, ..."),
        "fewer pods of the component are ready than wanted; the message says how many, and why one is not",
        f"{WHY_CLUSTER} goes down to the pod's events",
    ),
    "NotAnswering": Word(
        _kind("ApiserverReady"),
        "the API server's pods are ready, but the business API does not answer the operator",
        "the message says how it fails; see NetworkPolicies and the endpoint",
    ),
    "NotRead": Word(_kind("several"), "it is not known: what it depends on could not be read", MOVES),
    "Matches": Word(_kind("InsideReady"), "what kok keeps inside the business cluster is in place", FINE),
    "Differs": Word(
        _kind("InsideReady"),
        "what should be and what is are not the same: an object inside the business cluster, or the authorised version and the spec",
        MOVES,
    ),
    "NotAsked": Word(
        _kind("MachineOperatorReady"), "spec.machineAccess is not set: this cluster has no Machine-Operator", "set it to manage hosts"
    ),
    "Same": Word(_kind("ReleaseMatchesWish"), "the version of the spec is authorised, and the plane is at it", FINE),
    "NotAuthorised": Word(_kind("ReleaseMatchesWish"), "no version is authorised yet", MOVES),
    "NotReached": Word(_kind("ReleaseMatchesWish"), "the version is authorised, and the plane is not at it yet", MOVES),
    "RolloutNeeded": Word(
        _kind("ReleaseMatchesWish"),
        "changePolicy is RolloutOnly, and no rollout has authorised this version",
        "start a rollout, or set changePolicy to Direct",
    ),
    "RolloutAhead": Word(
        _kind("ReleaseMatchesWish"),
        "a rollout authorised, or took back to, another version than the spec wishes; the spec is no new wish as long as it says the same",
        "commit the version that is authorised (kok rollout status NAME prints what), or wish another",
    ),
    "Connected": Word(_kind("TunnelReady"), "the API servers reach pods and nodes of the business cluster through konnectivity", FINE),
    "NoNodes": Word(_kind("TunnelReady"), "konnectivity's agents run on nodes, and there is no node yet", "add hosts to a MachinePool"),
    "AgentsMissing": Word(
        _kind("TunnelReady"),
        "no agent, or too few, has connected: kubectl logs, exec and webhooks on nodes do not work yet",
        "see that nodes reach the endpoint's konnectivity port: kubectl -n kube-system get pods -o wide in the business cluster",
    ),
    "Answered": Word(_kind("HostReachable"), "the host answered over SSH", FINE),
    "NotLookedAt": Word(_kind("HostReachable, PackagesReady"), "the host has not been looked at yet", MOVES),
    "Match": Word(_kind("PackagesReady"), "everything on the host is as its packages say", FINE),
    "Differ": Word(_kind("PackagesReady"), "something on the host is not as its packages say; the message names the first thing", MOVES),
    "Staged": Word(_kind("Staged"), "artifacts that a rollout will need lie in the host's store; what is installed is unchanged", FINE),
    "Staging": Word(_kind("Staged"), "artifacts that a rollout will need are being put into the host's store", MOVES),
    "NotStaged": Word(
        _kind("Staged"),
        "artifacts that a rollout will need could not be put into the host's store; the message says why",
        "mend what the message says, or leave it: it is tried again, and else the run that changes the host brings them",
    ),
    "NotRegistered": Word(
        _kind("NodeReady"), "the kubelet has not registered its node", f"if it lasts: {WHY_MACHINE}; journalctl -u kubelet on the host"
    ),
    "NoReason": Word(_kind("NodeReady"), "the Node's own condition gives no reason", "kubectl describe node NAME in the business cluster"),
    "Closed": Word(
        _kind("GatesOpen, GatesHold"),
        "the node is closed to new pods: kok's own gates, or one of the pool's, do not hold",
        "the message names the gate",
    ),
    "GrantWaits": Word(
        "reason of an event", "leave for a dangerous act has been asked for, and not been given yet", "kok explain BudgetDenied"
    ),
    "Waits": Word(
        "reason of an event of Cluster",
        "a step could not be begun yet, mostly because it waits for leave to act",
        "kok budget; kok explain BudgetDenied",
    ),
    "InForce": Word(_kind("OperationBudget"), "the budget limits what it is about", "nothing to do"),
    "ForcedOpen": Word(
        _kind("OperationBudget"),
        "a person froze it: everything that goes forward under it is denied until then",
        "kok budget unfreeze NAME",
    ),
    "Disabled": Word(_kind("OperationBudget"), "a person keeps its breaker from opening; its limits hold", "kok budget unfreeze NAME"),
    "BreakerOpen": Word(
        "reason of the condition OperationBudget, and of its event",
        "too much was tried, too much failed, a rollout failed, or a storm: what goes forward in that scope is denied until a probe succeeds",
        "its message says what it was; once that is dealt with: kok budget close NAME --reason WHY",
    ),
    "BreakerHalfOpen": Word(
        "reason of the condition OperationBudget, and of its event",
        "it cooled down: one operation at a time is let through",
        "nothing to do",
    ),
    "BreakerClosed": Word(
        "reason of an event of OperationBudget", "a probe succeeded, or a person closed it: the budget limits as before", "nothing to do"
    ),
    "NotItsOwn": Word(
        _kind("CertificatesRefused"),
        "the host asked for a certificate with names or addresses that are not its own, and did not get it",
        "kubectl get csr in the business cluster; find out who made it",
    ),
    "Satisfied": Word(_kind("a gate"), "the gate's reporter said so, recently and about this boot", FINE),
    "NotSatisfied": Word(
        _kind("a gate"), "the reporter says that the gate does not hold; the message is its own", "mend what the message says"
    ),
    "NotReported": Word(_kind("a gate"), "nobody has reported the gate yet", "see that the reporter's pod runs on that node"),
    "OtherReporter": Word(
        _kind("a gate"),
        "the report was written by another identity than the pool's spec.readinessGates[].reporter",
        "correct the reporter, or the gate",
    ),
    "Malformed": Word(_kind("a gate"), "the report cannot be understood", "the message says what is wrong with the ConfigMap"),
    "Stale": Word(
        _kind("a gate"), "the last report is older than the gate's maxAgeSeconds", "see that the reporter still runs on that node"
    ),
    "BeforeBoot": Word(
        _kind("a gate"), "the report is about an earlier boot of the host", "the reporter has to report again after a reboot"
    ),
    "Reserved": Word(
        _kind("a gate"), "a gate may not be named like a condition of kok's or of the kubelet's", "give the gate another type"
    ),
    "ReportsNotProtected": Word(
        _kind("a gate"),
        "the policy that binds reports to their writers is not in force in the business cluster, so no report counts",
        "it is put back by itself; if it lasts, see the condition InsideReady of the Cluster",
    ),
    "WouldClose": Word(
        _kind("GatesHold of a pool"),
        "a gate that was added does not hold on machines that are open; the message says on how many",
        "see to its reporter before it closes them",
    ),
}
"""What the other conditions say."""

WORDS: dict[str, Word] = {**REASONS, **PHASES}
