"""Example for machines of your own: copy it to inventory/NAME.py, and put what differs from group_data/all.py into
inventory/group_data/NAME.py. Then: `./inv plan -i inventory/NAME.py`, `./inv apply -i inventory/NAME.py`.

What such a NAME.py has to set at least, because no value could fit everybody:

    node_network = "192.0.2.0/24"                                # the network that the addresses below are in
    podnet_image = "registry.example.net/podnet:1"               # built by `./inv mirror.build`; or: cni = "flannel"
    httpd_image = "registry.example.net/httpd:2.4"               # or: demo = False
    kuard_image = "registry.example.net/kuard:1"

And what most will want to choose:

    kubernetes_version = "1.35.1"                                # 1.20 to 1.37; packages come from pkgs.k8s.io …
    container_runtime = "containerd"                             # or docker

Before 1.24, or where hosts do not reach pkgs.k8s.io, packages come from a repository of yours:

    kubernetes_apt_url = "https://mirror.example.net/kubernetes/"    # kubeadm, kubelet, kubectl (containerd: cri-tools)
    kubernetes_apt_key = "https://mirror.example.net/kubernetes/Release.key"
    kubernetes_apt_key_fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567"    # so that no other key is taken
    kubernetes_rpm_url = "https://mirror.example.net/kubernetes/rpm/"    # the same for hosts with dnf
    kubernetes_rpm_key = "https://mirror.example.net/kubernetes/rpm/repodata/repomd.xml.key"
    image_repository = "registry.example.net/kubernetes"

Where hosts reach the world by a proxy (what is inside is worked out from the addresses):

    http_proxy = "http://proxy.example.net:3128"
    no_proxy = [".example.net"]                                  # so that your mirrors are reached directly

Where this machine does not reach github.com, manifests and programs are files:

    cni_manifest = "~/kube-flannel.yml"                          # see docs/reference-versions.md, or with its SHA-256
    cri_dockerd_archive = "~/cri-dockerd-{arch}.tgz"             # with Docker, from Kubernetes 1.24 on

The hosts run one of Debian 12 and 13, Ubuntu 22.04 and 24.04, RHEL, Rocky or Alma 8 and 9, on amd64 or arm64, and may
differ; README.md tells what goes together. They are reached by ssh with a key, and their host keys are in your
known_hosts. ssh connects to a host's name, which has to resolve: by DNS, /etc/hosts, or a Host of ~/.ssh/config. Where
it does not, say what does: {"address": "192.0.2.11", "ssh_hostname": "192.0.2.11"}. These may be set for each host too:
ssh_port, ssh_user, ssh_key, ssh_config_file. That user becomes root by sudo; a password is asked for on the
terminal where sudo wants one (docs/how-to.md). Hosts that you enter as root may have no sudo:

    _sudo = False
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kubeproof.terminal.exits import started_from_repository

started_from_repository()

# Hosts that Terraform or Ansible knows are taken from there: docs/how-to.md, Hosts from Terraform or Ansible.
# The name becomes the host's name in the cluster. The address is the one at which the other nodes reach it.
control_plane = [
    ("control-1", {"address": "192.0.2.11", "ssh_user": "admin"}),
]
workers = [
    ("worker-1", {"address": "192.0.2.21", "ssh_user": "admin"}),
    ("worker-2", {"address": "192.0.2.22", "ssh_user": "admin"}),
]
