"""What nodes need of each other through a host's firewall. Pure."""

from kubeproof.cluster import Cluster, Role


def ports(cluster: Cluster, role: Role) -> tuple[str, ...]:
    """Ports of a host of this role, such as "6443/tcp" (Kubernetes documentation, "Ports and Protocols")."""
    settings = cluster.settings
    node_ports = settings.node_port_range
    always = ("10250/tcp", "10256/tcp", f"{settings.vxlan_port}/udp", f"{node_ports}/tcp", f"{node_ports}/udp")
    if role == "worker":
        return always
    return (f"{settings.api_port}/tcp", "2379-2380/tcp", "10257/tcp", "10259/tcp", *always)


def sources(cluster: Cluster) -> tuple[str, ...]:
    """Networks whose packets are let in whatever their port: pods speak with the host they are on."""
    return (str(cluster.settings.pod_cidr),)
