"""NetworkPolicies as truth tables: what is expected of them, what is observed, and the difference."""

from kubeproof.matrix.running import Options, run

__all__ = ["Options", "run"]
