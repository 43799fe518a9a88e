"""The lab: a kind meta cluster and hosts as containers, a whole fleet on one machine. Owns every container with its label, and nothing else."""
