"""The lab's private mirror: Kubernetes packages, Debian packages for nodes, and an image registry.

Everything it serves is built from Debian's archive, kept in the cache by content, and served on the lab gateway only.
"""

from lab.mirror.service import add, alone, build, check, down, status, up
from lab.mirror.system_services import kept_from_starting

__all__ = ["add", "alone", "build", "check", "down", "kept_from_starting", "status", "up"]
