"""`kok meta rebuild-ledger`: a lost Ledger made anew because a person asked. A thin face of operators.services.ledger_origin."""

from __future__ import annotations

from meta_cluster.cli.options import Access, AsGroupOption, AsOption, ContextOption, KubeconfigOption, YesOption


def rebuild_ledger(
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
    user: AsOption = "",
    groups: AsGroupOption = None,
    yes: YesOption = False,
) -> None:
    """Make a lost Ledger anew from the OperationGrants that are stored; what was deleted with them is forgotten.

    Admission lets only the group kok:break-glass do it; --as and --as-group take that group where RBAC allows it.

    Examples:

      kok meta rebuild-ledger

      kok meta rebuild-ledger --as jane --as-group system:masters --as-group kok:break-glass
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import confirm

    access = Access(kubeconfig, context, user=user, groups=tuple(groups or ()))
    confirm("makes the Ledger anew: acts in flight whose OperationGrant was deleted will not be counted any more", yes=yes)
    run(_rebuild(access))


async def _rebuild(access: Access) -> None:
    from meta_cluster.bootstrap.install import SYSTEM_NAMESPACE
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import say
    from operators.adapters.lease_kube import KubeLease
    from operators.services.ledger_origin import rebuild_ledger as rebuilt

    async with open_meta(access, field_manager="kok-install") as meta:
        lease = await KubeLease(meta.kube, namespace=SYSTEM_NAMESPACE, name="kok-cluster-operator").read()
        spec = await rebuilt(meta.kube, epoch=lease.epoch if lease else 0)
        say(f"Ledger made anew with {len(spec.in_flight)} acts in flight")
