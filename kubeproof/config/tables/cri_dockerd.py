"""The release of cri-dockerd that is installed: one version for all, known by its checksums. Pure."""

VERSION = "0.3.24"
"""Tells kubelet its cgroup driver (cri-dockerd#425), and speaks with Docker 25 and newer (cri-dockerd#300)."""
URL = f"https://github.com/Mirantis/cri-dockerd/releases/download/v{VERSION}/cri-dockerd-{VERSION}.{{arch}}.tgz"
SHA256 = {
    "amd64": "dd4b7f514c248a3aaca398f467430a4c58aae9a77ea8b96a2f5b5d6fba0948d1",
    "arm64": "c783a03735887c4a8fc894bd4cf7a1c0defef3ecf50a4d79ff31eed45c26b17e",
}
"""Of each architecture's archive. Its project publishes none; two that pin them agree: kubespray v2.31.0
(roles/kubespray_defaults/vars/main/checksums.yml) and actions-setup-minikube (src/checksums.js)."""
DOCKER_FROM = (23,)
"""First version of Docker that it does not refuse: it wants API 1.42 (cri-dockerd#346)."""
MEMBER = "cri-dockerd/cri-dockerd"


def source(setting: str, architecture: str) -> str:
    """URL or path of an architecture's archive, from the setting cri_dockerd_archive."""
    return (setting or URL).replace("{arch}", architecture)
