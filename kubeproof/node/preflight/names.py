"""The names of all findings and what each is about: what `ignore_findings` takes, and README.md shows. Pure."""

from typing import Literal

Severities = Literal["error", "warning", "either"]

FINDINGS: dict[str, tuple[Severities, str]] = {
    # the machine
    "os": ("error", "Operating system and its version are ones that this project knows"),
    "architecture": ("error", "amd64 or arm64"),
    "root": ("error", "Commands run as root, by ssh or by sudo"),
    "init": ("error", "systemd is the host's init"),
    "memory": ("either", "kubeadm's minimum of a control plane (error), and the same of a worker (warning)"),
    "cores": ("error", "kubeadm's minimum of a control plane"),
    "disk-space": (
        "either",
        "Room for images, pods and etcd, inodes too, and for kubelet to take pods at all; a warning on nodes",
    ),
    "storage-driver": ("error", "Images are on a file system that overlays can be mounted on"),
    "swap": ("error", "No swap that the deploy cannot turn off: that of the machine around a container"),
    "cgroups": (
        "error",
        "The layout of control groups is one that kubelet of this version takes, all controllers there",
    ),
    "cgroup-driver": ("warning", "cgroup_driver is not cgroupfs where systemd manages one tree of control groups"),
    "kernel-version": ("error", "kubeadm's minimum of this version of Kubernetes"),
    "kernel-feature": (
        "either",
        "Overlay file systems, veth, bridge, VXLAN, connection tracking, bridge netfilter, iptables: each is tried, "
        "in namespaces of its own; a warning if it cannot be tried",
    ),
    # who it is
    "clock-skew": ("either", "The clock is near the median of all hosts; a warning if it cannot be read"),
    "hostname": ("warning", "The host's own name is one, and not localhost"),
    "name-resolution": ("warning", "The host resolves its own name"),
    "duplicate-hostname": ("error", "No two hosts call themselves the same"),
    "duplicate-machine-id": ("error", "No two hosts have one machine-id"),
    "duplicate-product-uuid": ("error", "No two machines have one product UUID; containers share their machine's"),
    "hosts-file": ("error", "/etc/hosts gives no node's name to another address than the inventory does"),
    # its network
    "node-address": ("error", "The address in the inventory is on the host"),
    "interface": ("either", "The pod network's interface exists and is the one with the node's address"),
    "cidr-conflict": (
        "either",
        "Pod, Service and Docker networks share nothing with the host's routes, addresses and name servers",
    ),
    "port-in-use": ("error", "Ports of the node's role are free on a host that no deploy has been on"),
    "node-port-in-use": ("warning", "Nothing listens within node_port_range there"),
    "udp-path": (
        "either",
        "A UDP packet to vxlan_port arrives, from each host at each other, where one of the two is no node yet; a "
        "warning if it cannot be tried",
    ),
    "package-source": (
        "either",
        "The host reaches the Kubernetes packages (error) and its system's archives (warning)",
    ),
    "image-source": ("either", "The host reaches the registries of its images; a warning if it cannot be tried"),
    "missing-images": (
        "error",
        "Registries have the images that hosts will pull, as far as they can be asked without credentials",
    ),
    # what is on it
    "iptables-variant": ("warning", "iptables is nf_tables everywhere or legacy everywhere (kubernetes#71305)"),
    "iptables-mixed": ("warning", "No rules in the variant that the host's iptables is not"),
    "apparmor": ("error", "Where AppArmor is on, its parser is there or can be installed: runtimes run it"),
    "runtime-version": ("error", "The system's container runtime is one that kubelet of this version speaks with"),
    "runtime-conflict": ("error", "No other container runtime that the wanted one would replace or fight"),
    "docker-config": (
        "either",
        "Docker's configuration can be read and added to, and goes with pods and with how Docker is started; a warning "
        "for what of it cannot stay",
    ),
    "containerd-config": ("warning", "containerd has no settings of the host's own: the deploy writes them all"),
    "kubernetes-packages": ("error", "Somebody publishes packages of this version for this system"),
    "foreign-cluster": ("error", "No cluster that Kubeproof did not make"),
    "cluster-version": ("error", "A node is of the Kubernetes version that is set: clusters are not upgraded"),
    "cluster-runtime": ("error", "A node's container runtime is the one that is set"),
    "changed-setting": ("error", "No setting differs from the running cluster's that only a new cluster can have"),
    "changed-address": ("error", "Nodes have the addresses that the running cluster knows them by"),
    # the pod network
    "cni-manifest": ("error", "The manifest of flannel or Canal can be had and used"),
    "cni-untried": (
        "error",
        "The network's project names this Kubernetes for the manifest, or it was run with it (catalogue.py)",
    ),
    "cni-changed": ("error", "A cluster's pod network is the one that is set"),
    "cni-leftovers": ("error", "Nothing of another pod network on a host that no deploy has been on"),
    "cni-order": ("error", "No configuration in /etc/cni/net.d that kubelet would take first"),
    "cni-plugin": ("error", "CNI plugins that neither the manifest nor a package brings are on the host"),
    "cni-host-path": ("error", "What the manifest mounts of a host (typed hostPaths) is there, and of that type"),
    "cni-mtu": ("error", "cni_mtu is no more than the interfaces leave"),
    "cni-ports": ("error", "Ports of the network's own pods are free, and not api_port or in node_port_range"),
    "vxlan-in-use": ("error", "VNI and UDP port of the tunnel are not somebody else's"),
}
"""By name: how severe it is, and what has to hold."""
