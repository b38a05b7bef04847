# Tries what a kernel can do: sh features.sh FEATURE…; prints a section for each with "ok" or what went wrong.
# A feature that could not be tried, as in a container that may make no namespaces, has an empty section.

# A feature that is there has its sysctl or its function in the kernel; else its module can be loaded.
has() { # SYSCTL FUNCTION MODULE [OTHERWISE]
    if [ -e "$1" ] || grep -qw "$2" /proc/kallsyms || modprobe --dry-run --quiet "$3"; then
        echo ok
    else
        echo "${4:-not in this kernel}"
    fi
}

unshared() { # SCRIPT NAMESPACE-OPTION…
    script=$1
    shift
    unshare "$@" true || return
    if said=$(unshare "$@" sh -c "$script" 2>&1); then echo ok; else echo "${said:-it failed}"; fi
}

overlay='mount -t tmpfs kubeproof /tmp && mkdir /tmp/lower /tmp/upper /tmp/work /tmp/merged &&
mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work kubeproof /tmp/merged'
# Rules of every kind that kube-proxy makes (pkg/proxy/iptables/proxier.go). /run: the lock of the legacy variant.
rules='mount -t tmpfs kubeproof /run && rule() { iptables -t nat -A KUBEPROOF "$@"; } &&
iptables -t nat -N KUBEPROOF && iptables -N KUBEPROOF &&
iptables -A KUBEPROOF -m conntrack --ctstate INVALID -j DROP &&
rule -m comment --comment kubeproof -m addrtype --dst-type LOCAL -j MARK --set-xmark 0x4000/0x4000 &&
rule -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination 192.0.2.1:80 && rule -j MASQUERADE'

try() { # FEATURE
    case $1 in
    overlay) unshared "$overlay" --mount ;;
    veth) unshared 'ip link add name kubeproof0 type veth peer name kubeproof1' --net ;;
    bridge) unshared 'ip link add name kubeproof0 type bridge' --net ;;
    vxlan) unshared 'ip link add name kubeproof0 type vxlan id 1 dstport 8472 dev lo' --net ;;
    conntrack) has /proc/sys/net/netfilter/nf_conntrack_max nf_conntrack_in nf_conntrack ;;
    br_netfilter) has /proc/sys/net/bridge/bridge-nf-call-iptables br_nf_pre_routing br_netfilter ;;
    iptables)
        if command -v iptables >/dev/null; then
            unshared "$rules" --net --mount
        else
            # The deploy installs it; the kernel has to have what it speaks with.
            has /proc/net/ip_tables_names nft_do_chain nf_tables 'no nf_tables in this kernel'
        fi
        ;;
    esac
}

for feature; do
    echo "##kubeproof $feature"
    try "$feature" 2>/dev/null
done
true
