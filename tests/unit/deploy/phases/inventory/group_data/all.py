"""The repository's own defaults, with what no default can know."""

import json
import os
from pathlib import Path

exec((Path(__file__).resolve().parents[6] / "inventory/group_data/all.py").read_text())  # noqa: S102

_sudo = False
node_network = "192.0.2.0/24"
service_cidr = "10.1.0.0/16"
kubernetes_apt_url = "http://mirror.example.net/kubernetes/"
kubernetes_apt_key = os.environ["FAKE_CLUSTER_KEY"]
image_repository = "registry.example.net"
podnet_image = "registry.example.net/podnet:1"
cluster_dns = "dnsmasq"
cluster_dns_image = "registry.example.net/dns:1"
httpd_image = "registry.example.net/httpd:1"
kuard_image = "registry.example.net/kuard:1"
probe_image = "registry.example.net/probe:1"
kubeconfig = os.environ["FAKE_CLUSTER_KUBECONFIG"]

globals().update(json.loads(os.environ["FAKE_CLUSTER_SETTINGS"]))
