"""Where things are on a host. Sources: kubeadm's constants.go, documentation of kubelet and Docker, CNI plugins."""

STATE = "/var/lib/kubeproof-node"
"""What the deploy remembers about a host; the last thing that a reset removes."""
RECORD = f"{STATE}/before.json"
ORIGINALS = f"{STATE}/files"
"""Copies of files as they were before the deploy replaced them, under their own paths."""
INIT_MARKER = f"{STATE}/init-in-progress"
JOIN_MARKER = f"{STATE}/join-in-progress"
MANIFESTS = f"{STATE}/manifests"
"""Objects that the deploy applies, as rendered."""
LOCK = "/run/kubeproof-node.lock"
"""Held by long-running commands. One that outlives an interrupted run is waited for instead of being run into."""

HOSTS = "/etc/hosts"
FSTAB = "/etc/fstab"
SYSCTL_FILE = "/etc/sysctl.d/99-kubeproof.conf"
MODULES_FILE = "/etc/modules-load.d/kubeproof.conf"
TMPFILES = "/etc/tmpfiles.d/kubeproof-podnet.conf"
APT_SOURCE = "/etc/apt/sources.list.d/kubernetes.list"
APT_KEYRING = "/etc/apt/keyrings/kubernetes.asc"
"""Apt takes an ASCII-armoured key for signed-by if its name ends in .asc (sources.list(5))."""
RPM_SOURCE = "/etc/yum.repos.d/kubernetes.repo"
RPM_KEYRING = "/etc/pki/rpm-gpg/kubernetes.asc"
RUNTIME_SOURCE = "/etc/yum.repos.d/kubeproof-runtime.repo"
RUNTIME_KEYRING = "/etc/pki/rpm-gpg/kubeproof-runtime.asc"
APT_PROXY = "/etc/apt/apt.conf.d/90kubeproof-proxy"
DNF_CONFIG = "/etc/dnf/dnf.conf"
DOCKER_CONFIG = "/etc/docker/daemon.json"
CONTAINERD_CONFIG = "/etc/containerd/config.toml"
CONTAINERD_REGISTRIES = "/etc/containerd/certs.d"
CRICTL_CONFIG = "/etc/crictl.yaml"
CRI_DOCKERD = "/usr/local/bin/cri-dockerd"
CRI_DOCKERD_SERVICE = "cri-docker.service"
CRI_DOCKERD_UNIT = f"/etc/systemd/system/{CRI_DOCKERD_SERVICE}"
PROXY_ENVIRONMENT = f"{STATE}/proxy.env"
"""The proxy's addresses, which may hold a password: for root only."""
SELINUX_CONFIG = "/etc/selinux/config"
NETWORK_MANAGER_CONFIG = "/etc/NetworkManager/conf.d/kubeproof.conf"

KUBERNETES = "/etc/kubernetes"
ADMIN_CONF = f"{KUBERNETES}/admin.conf"
KUBELET_CONF = f"{KUBERNETES}/kubelet.conf"
CA_CERTIFICATE = f"{KUBERNETES}/pki/ca.crt"
INIT_CONFIG = f"{STATE}/kubeadm-init.yaml"
JOIN_CONFIG = "/run/kubeproof-join.yaml"
"""Holds a token for the time of a join: /run is memory, so nothing of it ever reaches a disk."""
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
KUBELET_PKI = "/var/lib/kubelet/pki"
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
GROWING = ("/var/lib/etcd", "/var/lib/kubelet")
"""Directories beside the runtime's in which a node keeps things that take room."""
REMAINS = (
    ADMIN_CONF,
    KUBELET_CONF,
    f"{KUBERNETES}/bootstrap-kubelet.conf",
    f"{KUBERNETES}/controller-manager.conf",
    f"{KUBERNETES}/scheduler.conf",
    f"{KUBERNETES}/pki/*",
    "/var/lib/etcd/member",
    KUBELET_CONFIG,
)
"""What `kubeadm reset` cleans up, as patterns of the shell."""
ROOT_KUBECONFIG = "/root/.kube/config"
