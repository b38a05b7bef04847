"""What a kernel can do, by trying it. A module may be built in, or loaded when it is wanted: lists of modules tell
nothing. Everything is tried in namespaces of its own, which end with the command."""

import shlex
from collections.abc import Sequence

from kubeproof.deploy.facts.questions import Answers, Questions, script
from kubeproof.rules.before_deploy.kernels import OK

_HAS = """has() { [ -e "$1" ] || grep -qw "$2" /proc/kallsyms || modprobe --dry-run --quiet "$3"; }"""
"""A feature that is there has its sysctl or its function in the kernel; else its module can be loaded."""
_OVERLAY = """mount -t tmpfs kubeproof /tmp && mkdir /tmp/lower /tmp/upper /tmp/work /tmp/merged &&
mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work kubeproof /tmp/merged"""
_IPTABLES = """mount -t tmpfs kubeproof /run && rule() { iptables -t nat -A KUBEPROOF "$@"; } &&
iptables -t nat -N KUBEPROOF && iptables -N KUBEPROOF &&
iptables -A KUBEPROOF -m conntrack --ctstate INVALID -j DROP &&
rule -m comment --comment kubeproof -m addrtype --dst-type LOCAL -j MARK --set-xmark 0x4000/0x4000 &&
rule -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination 192.0.2.1:80 && rule -j MASQUERADE"""
"""Rules of every kind that kube-proxy makes (pkg/proxy/iptables/proxier.go). /run: the lock of the legacy variant."""
_TRIED = {
    "overlay": ("--mount", _OVERLAY),
    "veth": ("--net", "ip link add name kubeproof0 type veth peer name kubeproof1"),
    "bridge": ("--net", "ip link add name kubeproof0 type bridge"),
    "vxlan": ("--net", "ip link add name kubeproof0 type vxlan id 1 dstport 8472 dev lo"),
    "tun": ("--net", "ip tuntap add name kubeproof0 mode tun"),
}
"""In which namespaces, and what."""
_ASKED = {
    "conntrack": "has /proc/sys/net/netfilter/nf_conntrack_max nf_conntrack_in nf_conntrack",
    "br_netfilter": "has /proc/sys/net/bridge/bridge-nf-call-iptables br_nf_pre_routing br_netfilter",
}
_OF_IPVS = {
    "ip_vs": ("/proc/net/ip_vs", "ip_vs_conn_in_get"),
    "ip_vs_rr": ("/sys/module/ip_vs_rr", "ip_vs_rr_schedule"),
    "ip_vs_wrr": ("/sys/module/ip_vs_wrr", "ip_vs_wrr_schedule"),
    "ip_vs_sh": ("/sys/module/ip_vs_sh", "ip_vs_sh_schedule"),
    "dummy": ("/sys/module/dummy", "dummy_xmit"),
    "xt_set": ("/sys/module/xt_set", "set_match_v0"),
}
"""Modules that kube-proxy's mode ipvs needs, with what shows that they are there: schedulers, of which 1.20 wants all,
the kind of link that kube-ipvs0 is, and iptables' match of ipsets (pkg/proxy/ipvs)."""
_NO_IPTABLES_YET = "has /proc/net/ip_tables_names nft_do_chain nf_tables"
"""The deploy installs it; the kernel has to have what it speaks with."""


class Features(Questions[dict[str, str]]):
    """What came of trying each feature: "ok" or what went wrong; a feature that could not be tried is missing."""

    def command(self, wanted: Sequence[str] = ()) -> str:
        return script({name: question for name, question in _questions().items() if name in wanted})

    def read(self, found: Answers) -> dict[str, str]:
        return {name: lines[-1] for name, lines in found.items() if lines}


def _questions() -> dict[str, str]:
    """Each prints nothing if it cannot be tried."""
    tried = {name: _unshared(spaces, script) for name, (spaces, script) in _TRIED.items()}
    asked = {
        name: f"{_HAS}; {{ {question} && echo {OK}; }} || echo not in this kernel" for name, question in _ASKED.items()
    }
    rules = f"if command -v iptables >/dev/null; then {_unshared('--net --mount', _IPTABLES)}; "
    rules += f"elif {_HAS}; {_NO_IPTABLES_YET}; then echo {OK}; else echo no nf_tables in this kernel; fi"
    lacking = "; ".join(f"has {path} {function} {name} || echo {name}" for name, (path, function) in _OF_IPVS.items())
    ipvs = f'{_HAS}; lacks=$(echo $({lacking})); [ -z "$lacks" ] && echo {OK} || echo "no $lacks"'
    return {**tried, **asked, "iptables": rules, "ipvs": ipvs}


def _unshared(spaces: str, script: str) -> str:
    """One that can make no namespaces has not tried."""
    return (
        f"if unshare {spaces} true; then said=$(unshare {spaces} sh -c {shlex.quote(script)} 2>&1) && echo {OK} || "
        'echo "${said:-it failed}"; fi'
    )
