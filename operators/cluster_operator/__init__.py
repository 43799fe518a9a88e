"""The Cluster-Operator: planes of business clusters, and the risk centre. Started by `main`; knows nothing of the Machine-Operator."""
