"""Versions that the mirror offers: what tags and packages are called before anything is built.

Each is checked against what Debian's archive really gave when it is built, so a tag never lies.
"""

KUBERNETES = "1.20.2"
"""Version in hack/lib/version.sh of Debian 12's source package ``kubernetes`` (1.20.5+really1.20.2)."""

ETCD = "3.4.23"
"""Upstream version of Debian 12's package ``etcd-server``."""

PAUSE = "3.2"
"""The tag kubeadm 1.20 asks for (PauseVersion in cmd/kubeadm/app/constants); the program is this project's own."""
