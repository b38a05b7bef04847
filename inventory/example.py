"""Example for machines of your own: copy it to inventory/NAME.py, and put what differs from group_data/all.py into
inventory/group_data/NAME.py. Then: `./inv plan -i inventory/NAME.py`, `./inv apply -i inventory/NAME.py`.

What such a NAME.py has to set at least, because no value could fit everybody:

    node_network = "192.0.2.0/24"                                # the network that the addresses below are in
    kubernetes_apt_url = "https://mirror.example.net/kubernetes/"    # has the packages kubeadm, kubelet and kubectl
    kubernetes_apt_key = "https://mirror.example.net/kubernetes/Release.key"
    podnet_image = "registry.example.net/podnet:1"               # built by `./inv mirror.build`; or: cni = "flannel"
    httpd_image = "registry.example.net/httpd:2.4"               # or: demo = False
    kuard_image = "registry.example.net/kuard:1"

The hosts run Debian 12, are reached by ssh with a key, and their host keys are in your known_hosts. pyinfra reads
~/.ssh/config; these may be set for each host too: ssh_hostname, ssh_port, ssh_user, ssh_key, ssh_config_file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kubeproof.front import started_from_repository

started_from_repository()

# The name becomes the host's name in the cluster. The address is the one at which the other nodes reach it.
control_plane = [
    ("control-1", {"address": "192.0.2.11", "ssh_user": "admin"}),
]
workers = [
    ("worker-1", {"address": "192.0.2.21", "ssh_user": "admin"}),
    ("worker-2", {"address": "192.0.2.22", "ssh_user": "admin"}),
]
