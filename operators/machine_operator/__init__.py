"""Makes hosts nodes of one business cluster, and lets them go again. Reads wishes from the meta cluster, acts over SSH and both API servers."""
