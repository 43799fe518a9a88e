"""The risk centre: the only one who answers OperationGrants. Runs in the Cluster-Operator's leader; started by its entry point through `RiskCentre`."""

from operators.cluster_operator.risk.centre import RiskCentre

__all__ = ["RiskCentre"]
