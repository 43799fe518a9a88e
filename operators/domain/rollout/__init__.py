"""Decisions of fleet rollouts: which members in which order, how a stage is judged, what comes next. Pure; called by cluster_operator.rollout."""
