"""NetworkPolicy at work on the demo, step by step: each policy, each command, what came of it, and what it proves."""

from kubeproof.walkthrough.playing import play

__all__ = ["play"]
