"""Reconciles Cluster objects: observe -> ladder -> act -> status. Decisions are in `operators.domain.plane`."""
