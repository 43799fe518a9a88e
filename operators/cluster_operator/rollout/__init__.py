"""Fleet rollouts: one change over many Clusters, in stages. Decisions are operators.domain.rollout's; here is what they look at and what they do."""
