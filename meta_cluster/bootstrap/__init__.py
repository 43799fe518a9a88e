"""An existing Kubernetes cluster becomes a meta cluster: CRDs, admission, catalogue, ledger, operators. Touches only what carries kok's names."""
