"""The control plane of one business cluster: what it should be and what it needs next. Pure; called by cluster_operator."""
