"""What the lab changes: it is its own mirror, and its hosts are containers."""

from lab.mirror.images import references
from lab.paths import APT_KEY, SSH_CONFIG
from lab.settings import load

# Nodes are reached as root, with a key and host keys that were made with them.
ssh_config_file = str(SSH_CONFIG)
_sudo = False

# Addresses: the lab's machine has to know them too, to keep their traffic off its uplink.
node_network = str(load().node_network)
pod_cidr = str(load().pod_cidr)
service_cidr = str(load().service_cidr)

# The mirror on the gateway. Plain HTTP: it can be reached from the nodes only, and apt checks signatures.
kubernetes_apt_url = f"{load().apt_url}/kubernetes/"
kubernetes_apt_key = str(APT_KEY)
image_repository = load().registry
insecure_registries = [load().registry]

# etcd is Debian's, pause is the lab's own.
etcd_image_tag = references(load())["etcd"].rpartition(":")[2]
pause_image_tag = references(load())["pause"].rpartition(":")[2]

podnet_image = references(load())["podnet"]

# Those of flannel, canal or calico are there if `./inv mirror.add` has put them there.
cni_image_repository = load().registry
httpd_image = references(load())["httpd"]
kuard_image = references(load())["kuard"]
probe_image = references(load())["probe"]

# Debian has no CoreDNS.
cluster_dns = "dnsmasq"
cluster_dns_image = references(load())["cluster-dns"]

container_runtime = load().container_runtime

# cgroupfs is the default in a container that is not alone under systemd's tree; a virtual machine is.
cgroup_driver = "systemd" if load().vm_workers else "cgroupfs"

# Emulated virtual machines take their time.
patience = 10.0 if load().vm_workers else 1.0

# nf_conntrack_max is not writable in a container.
conntrack_max_per_core = 0
