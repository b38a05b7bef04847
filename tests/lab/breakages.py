"""Many ways to break a lab by hand, each with what the doctor has to call it, and how the test undoes it.

Commands run on the first worker unless ``on`` says otherwise. Words in capitals are filled in: see :func:`filled`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.settings import LabNode, load
from tests.lab.breaking import leader, other, subnet, worker
from tests.lab.remote import KUBECTL, forget_attempts, kubectl, ssh

AGENT = "docker ps -q --filter label=io.kubernetes.container.name=podnet"
FROZEN = f"docker kill --signal STOP $({AGENT}) >/dev/null && "
"""podnet repairs what it sets at once; agents that set it only when they start are common."""
THAW = f"docker kill --signal CONT $({AGENT}) >/dev/null"
NETWORK_DOWN = "network-agent-ready"
"""What is told as well, or instead, once kubelet has found out that the agent does not answer."""
PID = "$(docker inspect -f '{{.State.Pid}}' $(docker ps -q --filter name=k8s_POD_kuard | head -n 1))"
INSIDE = f"nsenter -t {PID} -n"
PEER = f"$({INSIDE} ip -o link show eth0 | sed 's/.*@if\\([0-9]*\\):.*/\\1/')"
VETH = f'$(ip -o link | sed -n "s/^{PEER}: \\(veth[^@]*\\)@.*/\\1/p")'
PLUGGED = f"veth={VETH}; ip link set $veth up master cni0; bridge link set dev $veth hairpin on"
PROXY = "docker ps -q --filter label=io.kubernetes.container.name=kube-proxy"
PROXY_HELD = f"docker kill --signal STOP $({PROXY}) >/dev/null && "
"""kube-proxy writes its rules anew each half minute."""
KUARD = "$(docker ps -q --filter name=k8s_kuard | head -n 1)"
NOWHERE = '{"spec":{"template":{"spec":{"nodeSelector":{"no":"where"}}}}}'
GONE = f"{KUBECTL} wait --for=delete pod --timeout=180s"
NO_MORE = '[{"op":"remove","path":"/spec/template/spec/nodeSelector/no"}]'
DROP = "packets-refused-by-a-rule"
MANIFESTS = "/etc/kubernetes/manifests"


@dataclass(frozen=True)
class Breakage:
    """One way. ``told`` are names of which at least one is told; no other may be, but for ``also``."""

    name: str
    make: str
    undo: str
    told: tuple[str, ...]
    also: tuple[str, ...] = ()
    on: Callable[[], LabNode] = worker
    usual: bool = False
    """Whether it is run in every run of the tests, and not only where all are asked for."""
    has_remedy: bool = True
    """Whether a remedy is printed; else what to look at is."""
    seconds: float = 90
    rounds: int = 1
    """How often the doctor may be asked until all is well: what it could not see before shows then."""

    def is_told(self, names: set[str]) -> bool:
        """Whether these names of diagnoses are what the doctor should say of it."""
        return bool(names & set(self.told)) and names <= {*self.told, *self.also}


def frozen(name: str, make: str, told: str, **more: Any) -> Breakage:
    return Breakage(name, FROZEN + make, THAW, (told, NETWORK_DOWN), **more)


def by_api(name: str, make: str, undo: str, told: str, **more: object) -> Breakage:
    """By kubectl on the control plane."""
    return Breakage(name, f"{KUBECTL} {make}", f"{KUBECTL} {undo}", (told,), on=leader, **more)  # type: ignore[arg-type]


NFT = "nft add table FAMILY kpfault && nft add chain FAMILY kpfault c '{ type filter hook HOOK priority -300; }' && "


def nft(name: str, family: str, hook: str, rule: str, told: str = DROP, *, usual: bool = False) -> Breakage:
    chain = NFT.replace("FAMILY", family).replace("HOOK", hook)
    if "redirect" in rule:
        # The kernel takes no chain of this type before connections are tracked (-200).
        chain = chain.replace("type filter", "type nat").replace("-300", "-110")
    make = f"{chain}nft add rule {family} kpfault c {rule}"
    return Breakage(name, make, f"nft delete table {family} kpfault", (told,), usual=usual)


def iptables(name: str, rule: str, told: str, *, table: str = "filter", usual: bool = False) -> Breakage:
    chain, _, rest = rule.partition(" ")
    return Breakage(
        name,
        f"iptables -t {table} -I {chain} {rest}",
        f"while iptables -t {table} -D {chain} {rest}; do :; done",
        (told,),
        usual=usual,
    )


def static_pod_gone(name: str, *, usual: bool = False) -> Breakage:
    runs = f"docker ps -q --filter label=io.kubernetes.container.name={name} | grep -q ."
    made = f"mv {MANIFESTS}/{name}.yaml /root/ && timeout 60 sh -c 'while {runs}; do sleep 0.2; done'"
    return Breakage(
        f"{name} gone",
        made,
        f"[ -e {MANIFESTS}/{name}.yaml ] || mv /root/{name}.yaml {MANIFESTS}/; rm -f /root/{name}.yaml",
        ("control-plane-healthy",),
        on=leader,
        usual=usual,
    )


BREAKAGES: tuple[Breakage, ...] = (
    # Devices and routes of a node
    Breakage("cni0 down", "ip link set cni0 down", "ip link set cni0 up", ("cni0-address",), usual=True),
    Breakage(
        "second address on cni0",
        "ip addr add 10.199.7.1/24 dev cni0",
        "ip addr del 10.199.7.1/24 dev cni0",
        ("cni0-address",),
    ),
    Breakage(
        "route to own pods gone",
        "ip route del SUBNET dev cni0",
        "ip route replace SUBNET dev cni0 proto kernel scope link src GATEWAY",
        ("route-to-own-pods",),
    ),
    Breakage(
        "blackhole for half of another subnet",
        "ip route add blackhole OTHER_HALF",
        "ip route del blackhole OTHER_HALF",
        ("routes-to-other-nodes",),
    ),
    Breakage(
        "blackhole for a node",
        "ip route add blackhole OTHER_NODE/32",
        "ip route del blackhole OTHER_NODE/32",
        ("route-in-the-way",),
    ),
    Breakage(
        "node by the wrong gateway",
        "ip route add OTHER_NODE/32 via LEADER_NODE",
        "ip route del OTHER_NODE/32",
        ("route-in-the-way",),
    ),
    Breakage(
        "pods into an unreachable table",
        "ip route add unreachable default table 77 && ip rule add to PODS lookup 77 pref 77",
        "ip rule del pref 77; ip route flush table 77",
        ("ip-rule-in-the-way",),
        usual=True,
    ),
    Breakage(
        "rule that prohibits another node's pods",
        "ip rule add to OTHER_SUBNET pref 70 prohibit",
        "ip rule del pref 70",
        ("ip-rule-in-the-way",),
    ),
    Breakage(
        "another node's address taken",
        "ip addr add OTHER_NODE/32 dev lo",
        "ip addr del OTHER_NODE/32 dev lo",
        ("address-taken",),
    ),
    Breakage(
        "a pod's address taken",
        "ip addr add OTHER_POD/32 dev lo",
        "ip addr del OTHER_POD/32 dev lo",
        ("address-taken",),
    ),
    Breakage(
        "forwarding off on cni0",
        "sysctl -qw net/ipv4/conf/cni0/forwarding=0",
        "sysctl -qw net/ipv4/conf/cni0/forwarding=1",
        ("forwarding-off-on-a-device",),
    ),
    Breakage(
        "tagged frames pass by",
        "sysctl -qw net.bridge.bridge-nf-filter-vlan-tagged=0",
        "sysctl -qw net.bridge.bridge-nf-filter-vlan-tagged=1",
        ("bridge-netfilter",),
    ),
    Breakage(
        "a container on docker0",
        f"docker run -d --rm --name kpfault $(docker inspect -f '{{{{.Image}}}}' {KUARD})",
        "docker rm -f kpfault",
        ("docker0-down",),
    ),
    Breakage(
        "all of the tunnel lost",
        "tc qdisc add dev flannel.1 root tbf rate 8kbit burst 1600 latency 1ms",
        "tc qdisc del dev flannel.1 root",
        ("traffic-control",),
    ),
    Breakage(
        "node object deleted",
        f"{KUBECTL} delete node OTHER_NAME",
        "true",
        ("not-joined",),
        on=leader,
        seconds=60,
        rounds=3,
    ),
    # Neighbours
    Breakage(
        "wrong ARP entry of another node",
        "ip neigh replace OTHER_NODE lladdr 02:00:00:00:00:99 nud permanent dev host0",
        "ip neigh del OTHER_NODE dev host0",
        ("neighbour-wrong",),
        usual=True,
    ),
    Breakage(
        "wrong ARP entry of a pod",
        "ip neigh replace OWN_POD lladdr 02:00:00:00:00:98 nud permanent dev cni0",
        "ip neigh del OWN_POD dev cni0",
        ("neighbour-wrong",),
    ),
    Breakage(
        "wrong ARP entry of the gateway in a pod",
        f"{INSIDE} ip neigh replace GATEWAY lladdr 02:00:00:00:00:97 nud permanent dev eth0",
        f"{INSIDE} ip neigh del GATEWAY dev eth0",
        ("neighbour-wrong",),
    ),
    # Pods
    Breakage("veth off its bridge", f"ip link set {VETH} nomaster", PLUGGED, ("pod-veths",), usual=True),
    Breakage("hairpin off", f"bridge link set dev {VETH} hairpin off", PLUGGED, ("pod-veths",)),
    Breakage("veth down", f"ip link set {VETH} down", PLUGGED, ("pod-veths",)),
    Breakage(
        "pod without default route", f"{INSIDE} ip route del default", "true", ("pod-default-routes",), usual=True
    ),
    Breakage(
        "pod with another default route",
        f"{INSIDE} ip route replace default via OWN_WRONG",
        "true",
        ("pod-default-routes",),
    ),
    Breakage("pod's eth0 down", f"{INSIDE} ip link set eth0 down", "true", ("pod-default-routes",)),
    Breakage("pod without address", f"{INSIDE} ip addr flush dev eth0", "true", ("pod-addresses",)),
    # Rules
    nft("nft drop in a bridge", "bridge", "forward", "tcp dport 8080 drop", usual=True),
    nft("nft drop of kubelet's port", "inet", "input", "tcp dport 10250 drop", usual=True),
    nft(
        "nft drop of what arrives from a node",
        "ip",
        "prerouting",
        "ip saddr OTHER_NODE udp dport 8472 drop",
        "udp-path",
    ),
    nft("nft drop of DNS", "inet", "forward", "udp dport 53 drop"),
    nft(
        "nft redirect of the NodePort",
        "ip",
        "prerouting",
        "tcp dport NODE_PORT redirect to :1",
        "translated-before-services",
    ),
    iptables(
        "NodePort redirected",
        "PREROUTING -p tcp --dport NODE_PORT -j REDIRECT --to-ports 1",
        "translated-before-services",
        table="nat",
        usual=True,
    ),
    iptables(
        "Services passed by",
        'PREROUTING -p tcp -d SERVICE_NET -m comment --comment "don\'t; `touch /run/x` $HOME" -j ACCEPT',
        "translated-before-services",
        table="nat",
    ),
    iptables("raw drop", "PREROUTING -p tcp -m multiport --dports 8080,8081 -j DROP", DROP, table="raw"),
    iptables("mangle drop of the tunnel", "OUTPUT -p udp --dport 8472 -j DROP", "udp-path", table="mangle"),
    iptables("untracked NodePort", "PREROUTING -p tcp --dport NODE_PORT -j NOTRACK", DROP, table="raw"),
    iptables("ping of pods refused", "INPUT -p icmp -s PODS -j DROP", DROP),
    iptables("kubelet's port rejected", "INPUT -p tcp --dport 10250 -j REJECT", DROP),
    iptables("DNS refused in FORWARD", "FORWARD -p udp --dport 53 -j DROP", DROP),
    Breakage(
        "INPUT closed but for ssh",
        "iptables -I INPUT -p tcp --dport 22 -j ACCEPT && iptables -P INPUT DROP",
        "iptables -P INPUT ACCEPT && while iptables -D INPUT -p tcp --dport 22 -j ACCEPT; do :; done",
        (DROP,),
    ),
    Breakage("FORWARD open", "iptables -P FORWARD ACCEPT", "iptables -P FORWARD DROP", ("forward-accepts",)),
    iptables("masquerading first", "POSTROUTING -o flannel.1 -j MASQUERADE", "postrouting-order", table="nat"),
    Breakage(
        "nat rules flushed",
        f"{PROXY_HELD}iptables -t nat -F",
        f"docker kill --signal CONT $({PROXY}) >/dev/null",
        ("service-chains",),
        also=("postrouting-order", "kube-proxy-ready"),
    ),
    Breakage(
        "rule of a Service gone",
        f"{PROXY_HELD}iptables -t nat -S KUBE-SERVICES | grep -m1 default/kuard | sed 's/^-A/iptables -t nat -D/' | sh",
        f"docker kill --signal CONT $({PROXY}) >/dev/null",
        ("service-chains",),
        also=("kube-proxy-ready",),
    ),
    Breakage(
        "a second jump to Services", "iptables -t nat -A PREROUTING -j KUBE-SERVICES", "true", ("service-chains",)
    ),
    Breakage(
        "no mark for masquerading",
        f"{PROXY_HELD}iptables -t nat -F KUBE-MARK-MASQ",
        f"docker kill --signal CONT $({PROXY}) >/dev/null",
        ("service-masquerade",),
        also=("kube-proxy-ready",),
    ),
    # What the agent sets, with an agent that does not look
    frozen("route deleted", "ip route del OTHER_SUBNET", "routes-to-other-nodes"),
    frozen("ARP entry deleted", "ip neigh del OTHER_GATEWAY dev flannel.1", "arp-entries"),
    frozen(
        "FDB entries deleted",
        "for mac in $(bridge fdb show dev flannel.1 | cut -d ' ' -f 1); do bridge fdb del $mac dev flannel.1; done",
        "fdb-entries",
    ),
    frozen("flannel.1 deleted", "ip link del flannel.1", "flannel-device", usual=True),
    frozen("flannel.1 down", "ip link set flannel.1 down", "flannel-device"),
    # Afterwards the pods' kernel has to forget the path MTU that it was told.
    frozen("flannel.1 too small", "ip link set flannel.1 mtu 1400", "cni-mtu", seconds=30, rounds=2),
    frozen("second address on flannel.1", "ip addr add 10.199.7.1/32 dev flannel.1", "flannel-address"),
    frozen("subnet.env deleted", "rm /run/flannel/subnet.env", "subnet-env"),
    frozen("CNI configuration deleted", "rm /etc/cni/net.d/10-podnet.conflist", "cni-order"),
    # What runs
    Breakage(
        "Docker stopped",
        "systemctl stop docker.socket docker",
        "systemctl start docker",
        ("container-runtime-stopped",),
        usual=True,
        seconds=180,
    ),
    Breakage("kubelet stopped", "systemctl stop kubelet", "systemctl start kubelet", ("kubelet-healthy",)),
    Breakage(
        "kubelet masked",
        "systemctl mask --runtime --now kubelet",
        "systemctl unmask --runtime kubelet; systemctl start kubelet",
        ("kubelet-healthy",),
    ),
    Breakage(
        "kubelet held still", "systemctl kill -s STOP kubelet", "systemctl kill -s CONT kubelet", ("kubelet-healthy",)
    ),
    Breakage(
        "etcd paused",
        "docker pause $(docker ps -q --filter label=io.kubernetes.container.name=etcd)",
        "docker unpause $(docker ps -q --filter status=paused)",
        ("containers-paused",),
        on=leader,
    ),
    Breakage(
        "podnet paused",
        f"docker pause $({AGENT})",
        "docker unpause $(docker ps -q --filter status=paused)",
        ("containers-paused",),
    ),
    static_pod_gone("kube-controller-manager", usual=True),
    static_pod_gone("kube-scheduler"),
    Breakage(
        "API server with a wrong flag",
        f"sed -i 's/- --advertise-address/- --no-such-flag=1\\n    &/' {MANIFESTS}/kube-apiserver.yaml && sleep 20",
        f"sed -i '/no-such-flag/d' {MANIFESTS}/kube-apiserver.yaml",
        ("control-plane-healthy",),
        on=leader,
        seconds=180,
    ),
    by_api(
        "cluster DNS scaled to 0",
        "-n kube-system scale deployment kube-dns --replicas=0 && sleep 3",
        "-n kube-system scale deployment kube-dns --replicas=2",
        "cluster-dns-down",
    ),
    by_api(
        "Service of cluster DNS gone",
        "-n kube-system delete service kube-dns",
        "-n kube-system get service kube-dns",
        "cluster-dns-down",
    ),
    by_api(
        "kube-proxy wanted nowhere",
        f"-n kube-system patch daemonset kube-proxy -p '{NOWHERE}' && {GONE} -n kube-system -l k8s-app=kube-proxy",
        f"-n kube-system patch daemonset kube-proxy --type json -p '{NO_MORE}'",
        "kube-proxy-ready",
    ),
    by_api(
        "podnet wanted nowhere",
        f"-n kube-system patch daemonset podnet -p '{NOWHERE}' && {GONE} -n kube-system -l app=podnet",
        f"-n kube-system patch daemonset podnet --type json -p '{NO_MORE}'",
        NETWORK_DOWN,
        seconds=180,
    ),
    by_api(
        "the demo scaled to 0",
        f"scale deployment kuard --replicas=0 && {GONE} -l app=kuard",
        "scale deployment kuard --replicas=3",
        "demo-down",
    ),
    by_api("the demo's Service gone", "delete service kuard", "get service kuard", "demo-down"),
    Breakage(
        "cni0 too small", "ip link set cni0 mtu 1400", "ip link set cni0 mtu 1450", ("cni-mtu",), seconds=30, rounds=2
    ),
)


def filled(text: str) -> str:
    """Addresses for the words in capitals."""
    own, others = subnet(worker()), subnet(other())
    pods = dict(
        line.split()
        for line in kubectl(
            "get pods -l app=kuard -o jsonpath='{range .items[*]}{.spec.nodeName} {.status.podIP}{\"\\n\"}{end}'"
        ).splitlines()
    )
    values = {
        "OTHER_NAME": other().name,
        "OTHER_SUBNET": others,
        "OTHER_GATEWAY": others[0],
        "OTHER_HALF": next(iter(others.subnets())),
        "OTHER_NODE": other().address,
        "OTHER_POD": pods.get(other().name, others[2]),
        "OWN_POD": pods.get(worker().name, own[2]),
        "OWN_WRONG": own[-2],
        "LEADER_NODE": leader().address,
        "SUBNET": own,
        "GATEWAY": own[1],
        "PODS": load().pod_cidr,
        "SERVICE_NET": load().service_cidr,
        "NODE_PORT": "33000",
    }
    for word, value in values.items():
        text = text.replace(word, str(value))
    return text


def make(breakage: Breakage) -> None:
    ssh(breakage.on().name, filled(breakage.make))


def undo(breakage: Breakage, command: str) -> None:
    """Whether or not it has been mended; ``command`` is its own, filled in while the API answered."""
    ssh(breakage.on().name, f"{{ {command}\n}} >/dev/null 2>&1; true")
    forget_attempts()


def renew() -> bool:
    """Have pods of the node that were restarted made anew: kubelet waits longer with each restart, up to 5 minutes.

    Returns whether there were any.
    """
    pods = kubectl(
        f"-n kube-system get pods --field-selector spec.nodeName={worker().name} -o jsonpath="
        "'{range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}'"
    )
    restarted = [
        name for name, _, count in (line.partition(" ") for line in pods.splitlines()) if count not in ("", "0")
    ]
    if restarted:
        kubectl(f"-n kube-system delete pod {' '.join(restarted)}")
    return bool(restarted)
