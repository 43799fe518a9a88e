"""Every error code with its meaning and its remedy: what `kok explain` prints and docs/reference/errors.md holds. Data; no API server is asked.

`python -m meta_cluster.cli.errors_reference` writes the page, --check (CI) tells whether it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta_cluster.cli.generated import write_or_check
from meta_cluster.cli.words_reference import PHASES, REASONS, Word
from operators.errors import ErrorCode

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a code means, in one sentence, and what to do about it."""

    meaning: str
    remedy: str


E = ErrorCode
REFERENCE: dict[ErrorCode, Entry] = {
    E.AlreadyExists: Entry(
        "somebody created an object of that name first",
        "look at the object; if it is left over from an earlier try, delete it, else choose another name",
    ),
    E.AnsibleFailed: Entry(
        "a task of a play failed on the host; the message holds the last line of what it said",
        "correct on the host what the line names; the play is tried again by itself, with growing pauses",
    ),
    E.AnsibleTimeout: Entry(
        "a play did not end within its time: the host is slow, or a command on it waits for input",
        "look at what runs on the host (ps, journalctl); the play was ended and is tried again by itself",
    ),
    E.ArtifactMissing: Entry(
        "the artifact server has no file of that digest",
        'put the file where the server looks: docs/howto/install.md, "Files for hosts"',
    ),
    E.ArtifactMismatch: Entry(
        "a file's content is not what its digest says: it was damaged or exchanged, and was not used",
        "make the asset anew (`kok assets ensure`), and find out who changed it",
    ),
    E.AssetUnavailable: Entry(
        "a binary, image or package is neither in the assets folder nor could it be made",
        "kok assets ensure NAME prints how it is made and where that stops",
    ),
    E.BudgetDenied: Entry(
        "the risk centre said no: a budget's limit is reached, no budget is about it, or something about the request is unclear",
        "kok budget explain OPERATION TARGET -n NAMESPACE says which budget and when it is free; it is asked again by itself",
    ),
    E.CanarySick: Entry(
        "a Cluster that a rollout names as a canary was not healthy before the change, so it could not show what the change does",
        "mend the cluster, or make the rollout with another canary",
    ),
    E.CatalogueInvalid: Entry(
        "package data that came with this release cannot be read, or something refers to a part of it that is not there",
        "install kok again; in a checkout, correct the file that the message names",
    ),
    E.CertificateUntrusted: Entry(
        "something answers at the server's address, but no authority that we trust signed its certificate, or it is for another name, or out of date; "
        "nothing was sent to it",
        "if the cluster was made anew, fetch its kubeconfig again (lab: export KUBECONFIG=$(kok lab kubeconfig); business: kok kubeconfig NAME -n NS); "
        "if not, find out who answers there",
    ),
    E.ClusterConflict: Entry(
        "two things want the same place: a second Cluster in a namespace, or something that is still used",
        "give each Cluster a namespace of its own; delete what the message names first",
    ),
    E.Conflict: Entry(
        "somebody wrote the object between our reading and our writing it",
        "nothing: it is read and decided again by itself; if it persists, two controllers fight over the object",
    ),
    E.DeletionProtected: Entry(
        "spec.deletionProtection is true, so the Cluster is not deleted",
        'kubectl patch clusters.kok.dev NAME -n NAMESPACE --type merge -p \'{"spec":{"deletionProtection":false}}\', then delete it',
    ),
    E.DrainCancelled: Entry(
        "somebody uncordoned the node while kok was emptying it, so what kok had queued for it is cancelled",
        "to go on: kubectl annotate node NODE kok.dev/cancelled-drains- ; or wish other packages for the pool, or take the host out of maintenance",
    ),
    E.DrainOverdue: Entry(
        "pods are still on the host after the time a drain may take, most often because a disruption budget refuses their eviction",
        "the message names the pods; give them room (more replicas, another budget), or give them up: "
        "kubectl annotate machinepools.kok.dev POOL -n NS kok.dev/force-drain=HOST",
    ),
    E.EffectRefused: Entry(
        "making the host as wished would do more to its pods than is allowed",
        "raise update.maxEffect of the pool, or name a package version that does less; a host is never rebooted or reinstalled by itself: prepare it by hand",
    ),
    E.EtcdMembersEven: Entry(
        "an even number of members tolerates no more failures than one member fewer",
        "set spec.etcd.members to 1, 3 or 5",
    ),
    E.EtcdRefused: Entry(
        "etcd refused a change of its members, in its own words: a learner is not in sync yet, or too few members are healthy",
        "nothing was changed, and it is tried again; if it stays: `kok why` names the member that is missing",
    ),
    E.FlagOwned: Entry(
        "the flag belongs to kok: certificates, etcd endpoints and addresses follow from the Cluster",
        "remove it from spec.flags, and set the field of the Cluster that it follows from",
    ),
    E.FlagUnknown: Entry(
        "a component would not start with that flag: it has none of that name, or takes no such value",
        "remove it from spec.flags.COMPONENT of the Cluster, or correct name and value; the component's own --help lists what its version takes",
    ),
    E.FlagUnknownComponent: Entry(
        "spec.flags names a component that a plane has not",
        "flags may be set for etcd, apiserver, controllerManager and scheduler",
    ),
    E.Forbidden: Entry(
        "RBAC or an admission policy of the API server refused; the message is the server's own",
        "use an identity that may do it (--context), or have the right granted",
    ),
    E.GrantInvalid: Entry(
        "leave to act had expired, was settled, or was for something else when it was checked right before acting; nothing was done",
        "nothing: a new grant is asked for by itself",
    ),
    E.GrantPending: Entry(
        "the risk centre has not answered yet",
        "if it lasts, see whether the Cluster-Operator leads and is ready: kok meta status",
    ),
    E.HostClaimed: Entry(
        "another pool or another installation of kok owns that host",
        "the message names the owner; remove the host there and wait until it is cleaned, then add it here",
    ),
    E.HostDiskFull: Entry(
        "the host's disk has no room for what is to be installed",
        "make room on the file system that the message names; it is looked at again by itself",
    ),
    E.HostDuplicate: Entry(
        "two pools, or two entries, name the same host",
        "remove it from one of them; the message names both",
    ),
    E.HostKeyChanged: Entry(
        "the host shows another SSH key than the pinned one: it was reinstalled, or somebody else answers at that address; nothing was sent to it",
        "if you reinstalled it: kok host scan ADDRESS, compare with the host's console, put the key into the pool's spec.hosts[].hostKeys",
    ),
    E.HostKeyMissing: Entry(
        "no SSH host key is pinned for the host, and keys are never learned on first use",
        "kok host scan ADDRESS prints what to put into the pool's spec.hosts[].hostKeys",
    ),
    E.HostNoSudo: Entry(
        "the user logs in, but may not become root without a password",
        "give it password-less sudo (NOPASSWD), or set spec.hosts[].user to root",
    ),
    E.HostNotSsh: Entry(
        "something listens on that port of the host, and it is no SSH server",
        "give sshd's port (spec.hosts[].port; kok host scan --port)",
    ),
    E.HostRefused: Entry(
        "the host was reached, but refused the connection or the key; the message holds sshd's own words",
        "check that sshd runs on that port, and that the public half of the key in spec.machineAccess.sshKeySecretName is authorised for the user",
    ),
    E.HostTimeout: Entry(
        "the host does not answer in time: it is down, cut off, or hangs",
        "see that it is powered on; ping it from a meta node, look at its console; it is asked again by itself. If it never comes back and shall leave its pool: "
        "kubectl annotate machinepools.kok.dev POOL -n NS kok.dev/abandon-host=HOST",
    ),
    E.HostUnresolved: Entry(
        "the host's name does not resolve to an address where it is asked from",
        "correct the name, write the IP address instead, or mend DNS; for the Machine-Operator it has to resolve in a pod of the meta cluster",
    ),
    E.Internal: Entry(
        "kok met something that it does not understand: a fault of kok's, not of your object; it is tried again by itself, with growing pauses",
        "look whether it lasts (kok why KIND NAME -n NS); if so, report it with the operator's log: kubectl -n kok-system logs deployment/kok-cluster-operator, "
        "or kubectl -n NS logs deployment/CLUSTER-machine-operator for machines",
    ),
    E.InvalidObject: Entry(
        "an object breaks its schema or a validation rule; the message names the field",
        "correct the field and apply it again; kubectl explain KIND.spec says what it takes",
    ),
    E.KeysLost: Entry(
        "root keys of the plane are gone, and so is their sealed copy: new ones would lock everybody out, so nothing is done",
        "restore the Secret from a backup; if nothing of the cluster is worth keeping, delete the Cluster and create it again",
    ),
    E.LabFailed: Entry(
        "the lab on this machine could not be brought to where it should be",
        "the message holds the failing command's last words; kok lab down && kok lab up starts afresh",
    ),
    E.LeaseLost: Entry(
        "an operator process had lost its leadership when it was about to write: nothing was written",
        "nothing: another replica goes on; if it is often so, look at the meta API server's latency and at the operator's CPU limit",
    ),
    E.LedgerUnreadable: Entry(
        "the risk centre's Ledger is missing or cannot be read: every dangerous operation is denied until it can",
        "kubectl get ledgers.kok.dev -n kok-system; `kok meta install` makes the first one, `kok meta rebuild-ledger` a lost one (--as NAME --as-group kok:break-glass)",
    ),
    E.NetworkOverlap: Entry(
        "an address that nodes have to reach lies in a range that the cluster gives to its pods or Services: they would look for it inside",
        "the message names both; set another spec.endpoint.host (of a MachinePool: another address of the host), or delete the Cluster (nothing of it was made) and create it with another spec.network",
    ),
    E.NotFound: Entry(
        "the object, its namespace or its kind is not there",
        "check the name, -n NAMESPACE and --context; `kok get kok -A` lists what there is",
    ),
    E.PackageMissing: Entry(
        "a package version that is asked for is not in the meta cluster",
        "kubectl get clusterpackageversions.kok.dev,machinepackageversions.kok.dev lists what there is; `kok meta install` adds this release's",
    ),
    E.PackageConflict: Entry(
        "two package versions of the same name or component differ, and one host or installation would have to hold both",
        "give a changed package a name of its own; list one package per component",
    ),
    E.PortTaken: Entry(
        "the node port that a Cluster wishes for its endpoint is another Service's: one number is one Service's in the whole meta cluster",
        "the message names the field and who has the port; set another port (kubectl get services -A shows those in use), or free it, and it goes on by itself",
    ),
    E.SecretInvalid: Entry(
        "a Secret or a kubeconfig is there, but what is in it cannot be used",
        "the message names the Secret and what is wrong in it. An SSH key: kubectl -n NS create secret generic NAME --type=kubernetes.io/ssh-auth "
        "--from-file=ssh-privatekey=FILE --dry-run=client -o yaml | kubectl apply -f -. A kubeconfig: fetch it again. "
        "A leaf certificate of the plane: delete it, and it is issued anew",
    ),
    E.SecretMissing: Entry(
        "a Secret that is needed is not there (yet)",
        "create it in the namespace that the message names, or wait for the operator that makes it",
    ),
    E.SelectorEmpty: Entry(
        "the selector of a rollout matches no Cluster, or not the one that a stage names; an empty selector selects nothing",
        "compare the labels: kubectl get clusters.kok.dev -A --show-labels",
    ),
    E.TemplateInvalid: Entry(
        "a template of the plane or of a package could not be filled in",
        "the message names template and variable; correct the package version, under a new name",
    ),
    E.Timeout: Entry(
        "there was no answer in time; what was asked for may have been done all the same",
        "nothing at first: it is looked at again by itself; if it lasts, see whether the server is overloaded",
    ),
    E.TooManyRequests: Entry(
        "the API server asked for patience, or a disruption budget refused an eviction",
        "nothing: it is tried again by itself",
    ),
    E.Unauthorized: Entry(
        "the API server does not know us: a certificate or token that it does not accept (any more)",
        "log in again, or use another --kubeconfig",
    ),
    E.ManyUnreachable: Entry(
        "SSH fails to many hosts although their nodes are Ready: the fault is between the Machine-Operator and its hosts, not on them",
        "nothing is begun on any host meanwhile, and no package is blamed; see the network and the SSH key of the Cluster; it goes on by itself",
    ),
    E.Unreachable: Entry(
        "there is no way to the server: the connection is refused, broken off or not answered, or its name does not resolve",
        "check the address in the kubeconfig, and that the cluster runs (for the lab: kok lab status)",
    ),
    E.UpdateStopped: Entry(
        "a host of the pool failed with the new packages, so no further host gets them",
        "the condition names the host and what it says: mend that host, correct the packages, or wish the old ones again; it goes on by itself",
    ),
    E.UpgradeOverdue: Entry(
        "a stage of a change of version was not done within spec.upgrade.stageDeadlineSeconds; the plane stays on what serves",
        "the message says what did not become ready and why; mend that and it goes on by itself, or put the old package version back",
    ),
    E.UpgradeRefused: Entry(
        "there is no allowed way from the package version that a cluster has to the one it wishes: Kubernetes' skew policy, its kubelets or etcd's own rules forbid it",
        "the message names the nearest package version that is allowed; wish that one, or put the old value back",
    ),
    E.Usage: Entry("", ""),
    E.VersionBad: Entry(
        "a rollout found this package version bad and took it back; no other rollout and no edited wish brings it to what does not have it",
        "make a new package version; what was found is in kok rollout history; if it was not to blame, annotate the package version with kok.dev/not-bad: 'ROLLOUT: REASON'",
    ),
    E.WatchExpired: Entry(
        "a watch was too old to go on",
        "nothing: it is listed again by itself",
    ),
}
"""Usage says in its message all there is to say."""
ENTRIES = {
    **REFERENCE,
    E.Usage: Entry("the command line was not understood, or names what is not there", "the message says what; --help shows examples"),
}
"""As they are explained: with Usage."""


def page() -> str:
    """docs/reference/errors.md."""
    head = (
        "# Error codes, phases and reasons\n\n"
        "<!-- Generated from meta_cluster/cli/errors_reference.py and words_reference.py by `make crds`; edit the tables there. -->\n\n"
        "A code is the reason of a condition, the reason of an event and the last line of the CLI's errors. `kok explain WORD` prints the same, also for phases and reasons, which follow below.\n"
    )
    codes = "".join(f"\n## {code}\n\n{_sentence(entry.meaning)}\n\n**Do:** {entry.remedy}.\n" for code, entry in sorted(ENTRIES.items()))
    return head + codes + _words("Phases", PHASES) + _words("Reasons", REASONS)


def _words(title: str, words: Mapping[str, Word]) -> str:
    rows = "".join(f"| `{name}` | {word.where} | {word.meaning} | {word.remedy} |\n" for name, word in sorted(words.items()))
    return f"\n# {title}\n\n| word | shown as | means | do |\n|---|---|---|---|\n{rows}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def main(arguments: list[str]) -> int:
    """0 if nothing is wrong; with --check 1 if the page is stale."""
    return write_or_check(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
