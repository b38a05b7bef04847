"""Rules that hosts are asked before a deploy, by id: what ignore_findings takes (kubeproof/rules/index.py). Pure."""

FINDINGS = (
    *("os", "architecture", "root", "init", "memory", "cores", "disk-space", "storage-driver", "swap", "cgroups"),
    *("cgroup-driver", "kernel-version", "kernel-feature", "clock-skew", "hostname", "name-resolution"),
    *("duplicate-hostname", "duplicate-machine-id", "duplicate-product-uuid", "hosts-file", "node-address"),
    *("interface", "cidr-conflict", "port-in-use", "node-port-in-use", "udp-path", "package-source", "image-source"),
    *("missing-images", "iptables-variant", "iptables-mixed", "apparmor", "runtime-version", "runtime-conflict"),
    *("docker-config", "containerd-config", "kubernetes-packages", "foreign-cluster", "cluster-version"),
    *("cluster-runtime", "changed-setting", "changed-address", "cni-manifest", "cni-untried", "cni-changed"),
    *("cni-leftovers", "cni-order", "cni-plugin", "cni-host-path", "cni-mtu", "cni-ports", "vxlan-in-use"),
    *("control-plane-left-out", "left-out"),
)
