"""One module per port for the real thing, and `sim_*` twins held to the same contract tests. Chosen only by entry points and meta_cluster."""
