"""Kubeproof's stand-in for kuard: which pod answered, on which node, and which client address it saw."""
