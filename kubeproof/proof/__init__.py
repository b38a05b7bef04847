"""The proof that a cluster's network is what Kubernetes promises: checks of live state, probes, and their report."""
