"""Every setting of a cluster, its value and its reason. kubeproof/config/settings.py checks them, all together.

What one installation does differently belongs into a file beside this one, named after its inventory file.
"""

# --- pyinfra ---

# Most steps need root. (In deploy.py or passed to a phase it would be lost in nested operations.)
_sudo = True

# A host that known_hosts does not have is refused. pyinfra would take its key as it comes, whatever ssh's own
# configuration says.
ssh_strict_host_key_checking = "yes"

# --- Kubernetes ---

# 1.20 to 1.37; this is the one that everything here has been proven with. kubeadm, kubelet and images all have it.
kubernetes_version = "1.20.2"

# A flat apt repository (its packages beside its Release file) with kubeadm, kubelet and kubectl, and the ASCII-armoured
# key that signs it: a URL, or a path on this machine. Empty: the project's public repository of the minor version,
# which goes back to 1.24; before that it is a mirror of yours, or the lab's.
kubernetes_apt_url = ""
kubernetes_apt_key = ""

# Fingerprint of that key, compared before any host is given it. Empty: that of the project's own key is known, and held
# against it; a key of yours is taken as it is, so name its fingerprint unless it is a file that you made yourself. One
# that comes by plain HTTP has to have it.
kubernetes_apt_key_fingerprint = ""

# The same for hosts with dnf.
kubernetes_rpm_url = ""
kubernetes_rpm_key = ""
kubernetes_rpm_key_fingerprint = ""

# Version of the packages, as `apt-cache madison kubeadm` shows it. Empty: the newest of kubernetes_version.
kubernetes_package_version = ""

# Where kubeadm takes the control plane's images from. This is where Kubernetes publishes them; kubeadm 1.20 would
# ask its predecessor, which is frozen. Many networks cannot reach it: name a mirror.
image_repository = "registry.k8s.io"

# Tags of the two images that are not of Kubernetes' own version. Empty: kubeadm's own choice, which a public
# repository has; a private mirror may have others.
etcd_image_tag = ""
pause_image_tag = ""

# --- Addresses ---

# The network that the nodes' addresses are in. No value: nobody else knows it. A pod or Service network that
# overlaps it would cut nodes off from each other.
node_network = ""

# Pods: flannel's and Canal's default, so that their manifests need no change.
pod_cidr = "10.244.0.0/16"

# Size of each node's part of it: 24 gives a node 254 addresses (kubelet runs 110 pods) and a cluster 256 nodes.
pod_subnet_bits = 24

# Services: kubeadm's default.
service_cidr = "10.96.0.0/12"
cluster_domain = "cluster.local"

# Kubernetes' default ends at 32767; the Canal walk-through publishes its demo at 33000.
node_port_range = "30000-33000"

# kubeadm's default.
api_port = 6443

# --- Containers ---

# docker or containerd. kubelet speaks with Docker by itself until 1.23; from 1.24 on cri-dockerd stands between them.
container_runtime = "docker"

# Name of its package, and what its version is like (such as 5:24.0.*). Empty: those of the host's system, the newest.
docker_package = ""
containerd_package = ""
runtime_package_version = ""

# Where hosts with dnf have it from, the key, and its fingerprint. Empty: Docker's own repository, whose key is known.
runtime_rpm_url = ""
runtime_rpm_key = ""
runtime_rpm_key_fingerprint = ""

# cri-dockerd's release archive from elsewhere: a URL, or a path on this machine, with {arch} for amd64 or arm64. Empty:
# where its project publishes it. The version is this project's choice in any case, and its checksum is compared.
cri_dockerd_archive = ""

# What a host with systemd and one cgroup tree wants: two managers of the same tree fight (kubernetes#43805).
cgroup_driver = "systemd"

# Registries that are served without TLS, as host:port or (Docker only) network in CIDR form. None: images decide what
# root runs.
insecure_registries = []

# Mirrors of Docker's own registry, as URLs.
registry_mirrors = []

# Without a limit one talkative container fills the disk of a node, and kubelet evicts everything.
docker_log_max_size = "10m"
docker_log_max_file = 3

# --- Hosts ---

# Proxy by which hosts reach packages and images, as URLs. What must not go by it is worked out from the addresses
# here; no_proxy adds to that.
http_proxy = ""
https_proxy = ""
no_proxy = []

# Where there is SELinux: permissive, as kubeadm's documentation has it, since pods read the host's file system; or
# enforcing, as Red Hat has it, for images and agents that have rules of their own.
selinux = "permissive"

# Where firewalld runs: open the ports that nodes need of each other, or turn it off.
firewalld = "ports"

# --- Pod network ---

# flannel, canal and calico are what their projects publish, the last two with Calico's NetworkPolicy; podnet is this
# project's own agent, for where their images cannot be had. A cluster has to be reset to get another one.
cni = "podnet"

# Built by `./inv mirror.build`; no value: name the one in your registry. Only podnet needs it.
podnet_image = ""

# Manifest of flannel, canal or calico, a path on this machine or a URL, and its SHA-256. Empty: the newest for the
# Kubernetes version of those that kubeproof/networks/registry.py pins, fetched once. A manifest of these needs no sum,
# whatever its name; any other one does, since it decides what root runs on every node.
cni_manifest = ""
cni_manifest_sha256 = ""

# Where the images of these are: their registry's name is replaced by this, path and tag stay
# (docker.io/calico/cni:v1 becomes HERE/calico/cni:v1). Empty: where their projects publish them.
cni_image_repository = ""

# Interface between the nodes. node-address: the one with the node's address in the inventory. Otherwise a name that it
# has on all nodes, or empty for the manifest's own choice, or else flannel's, that of the default route: of several
# interfaces often the wrong one (flannel#535).
cni_interface = "node-address"

# Bytes that a packet of a pod can have. None: what the interface between the nodes leaves. Less where something on the
# way takes more, which no node can see.
cni_mtu = None

# vxlan wraps packets. host-gw (flannel) and none (calico, by BGP) route instead: faster, but all nodes must be in one
# layer 2 network. ipip (calico, by BGP) wraps in 20 bytes instead of 50. udp (flannel, amd64 alone) is for kernels
# without VXLAN: flanneld wraps packets itself, at UDP port 8285, slowly, and is privileged for it.
cni_backend = "vxlan"

# calico only, and only vxlan and ipip: packets between nodes of one subnet are routed, the others wrapped.
cni_cross_subnet = False

# calico only: prefix length of the blocks of pod_cidr that nodes take as they need them, 20 to 32. pod_subnet_bits has
# no effect on its pods.
cni_block_size = 26

# calico only: pods have their node's address for whatever is not a pod. False: the network has to route to them.
cni_nat_outgoing = True

# VXLAN as flannel has it on Linux: existing firewalls know 8472 (the kernel's older default), not 4789 of RFC 7348.
vxlan_vni = 1
vxlan_port = 8472

# None: NetworkPolicy is enforced where the network is able to, which all but flannel are. True
# refuses a network that is not. False leaves every policy without effect.
network_policy = None

# --- Cluster DNS ---

# kubeadm's addon. The alternative, dnsmasq, is for registries that have no CoreDNS image, and needs an image.
cluster_dns = "coredns"
cluster_dns_image = ""

# --- Demo ---

# Two small workloads that the proof sends its packets to. False for a cluster that is to stay empty; their images are
# built by `./inv mirror.build`; no value: name those in your registry.
demo = True
httpd_image = ""
kuard_image = ""

# The port at which the Canal walk-through reaches httpd on every node.
httpd_node_port = 33000

# The pods of `./inv matrix`, which nothing else needs: clients and servers that try what policies allow.
probe_image = ""

# --- kubeadm and kubelet ---

# How kube-proxy brings packets to Services: iptables, ipvs (which needs modules that some kernels lack) or nftables
# (from Kubernetes 1.31 and Linux 5.13 on). A cluster keeps the one that it was made with. Only iptables was run.
kube_proxy_mode = "iptables"

# kube-proxy's limit of tracked connections per core. None: its own default. 0: leave the kernel's, as where
# the sysctl is not writable.
conntrack_max_per_core = None

# A join token is a credential for the whole cluster; a join takes seconds. At most 10.
join_token_ttl_minutes = 10

# The administrator's copy on this machine, mode 0600. Not ~/.kube/config, which may hold somebody's other clusters.
kubeconfig = "~/.kube/kubeproof"

# kubeadm's checks that may fail, by kubeadm's names. None: each of them has a reason. kubeadm makes them on a host that
# is being changed already; what ignore_findings lets pass it may still refuse.
ignore_preflight_errors = []

# This project's own findings that stop nothing, by the names in docs/reference-rules.md. None: each of them breaks
# something. kubeadm has checks of its own, which ignore_preflight_errors is about.
ignore_findings = []

# Factor for how long hosts may take: for an answer, a command, a control plane, a node to be Ready. More than 1 for
# slow machines, up to 20; what is waited for in vain then takes as much longer.
patience = 1.0
