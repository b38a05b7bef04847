"""Cluster DNS: CoreDNS is kubeadm's own addon and there after init; the other one is applied here."""

from pyinfra.api import deploy

from kubeproof.deploy.context import cluster
from kubeproof.deploy.phases import manifests


@deploy("Cluster DNS")
def apply() -> None:
    """Apply the DNS server's objects, unless kubeadm has."""
    if cluster().settings.cluster_dns == "dnsmasq":
        manifests.apply("cluster DNS", "cluster-dns.yaml.j2")
