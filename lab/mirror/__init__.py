"""The lab's private mirror: Kubernetes packages, Debian through a caching proxy, and an image registry."""
