"""Where the trace of a packet has to end for each way to break a lab of breakages.py and breaking.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kubeproof.config.cluster import LoadedInventory
from kubeproof.trace import collecting, confirmed
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.model import End, Place, Prediction
from kubeproof.trace.world import World, make
from lab.settings import LabNode
from tests.lab.breaking import leader, other, worker
from tests.lab.tracing import disagreement, predicted

Ask = Callable[[World], Iterable[Asked]]


def _pods(world: World, node: LabNode, *, of: str = "kuard") -> list[str]:
    """Of the demo's pods on a node."""
    mine = (pod for pod in world.objects.pods if pod.node == node.name and pod.reachable)
    return [pod.full_name for pod in mine if pod.full_name.startswith(f"default/{of}")]


def far(world: World) -> Iterable[Asked]:
    """From each pod of the broken node to one of another."""
    return [Asked(pod, _pods(world, other())[0], "8080") for pod in _pods(world, worker())]


def near(world: World) -> Iterable[Asked]:
    """The other way round."""
    return [Asked(source, pod, "8080") for source in _pods(world, other()) for pod in _pods(world, worker())]


def beside(world: World) -> Iterable[Asked]:
    """Between pods of the broken node."""
    return [
        Asked(source, pod, "8080")
        for pod in _pods(world, worker())
        for source in _pods(world, worker(), of="")
        if source != pod
    ]


def node_port(_world: World) -> Iterable[Asked]:
    return [Asked("outside", f"{worker().name}:33000")]


def kubelet(_world: World) -> Iterable[Asked]:
    return [Asked(leader().name, worker().name, "10250")]


def from_pods(to: str, port: str = "", protocol: str = "tcp") -> Ask:
    return lambda world: [Asked(pod, to, port, protocol) for pod in _pods(world, worker())]


def ping(world: World) -> Iterable[Asked]:
    return from_pods(worker().name, "", "icmp")(world)


web, dns, itself = from_pods("httpd-svc", "8080"), from_pods("kube-system/kube-dns", "53", "udp"), from_pods("kuard")


@dataclass(frozen=True)
class Ends:
    """At this place of a node, the broken one or ``node``; what is said there has the words, some of it the name."""

    place: Place
    words: str
    asked: Ask = far
    node: Callable[[], LabNode] = worker


HARMLESS = "packets go as before"
NEW_PODS = "only pods that start later miss it"
CONTROL = "the network stands without it"
SMALL = "the packet of a trace is small: it tells the smallest MTU of its way, and fits"
NO_SERVICE = "there is no such Service to ask for: that is what the trace answers"
WAYS: dict[str, Ends | str] = {
    "cni0 down": Ends(Place.BRIDGE, "cni0 is down"),
    "second address on cni0": HARMLESS,
    "route to own pods gone": Ends(Place.ROUTE, "there is no route to", near),
    "blackhole for half of another subnet": Ends(Place.ROUTE, "route blackhole"),
    "blackhole for a node": Ends(Place.ROUTE, "route blackhole"),
    # Whose route leads there is told by a hop before.
    "node by the wrong gateway": Ends(Place.FORWARD, "policy is DROP", node=leader),
    "pods into an unreachable table": Ends(Place.ROUTE, "table 77"),
    "rule that prohibits another node's pods": Ends(Place.ROUTE, "ip rule priority 70"),
    "another node's address taken": Ends(Place.RP_FILTER, "is an address of k8s-node1 itself", near),
    "a pod's address taken": Ends(Place.RP_FILTER, "is an address of k8s-node1 itself", near),
    "forwarding off on cni0": Ends(Place.ROUTE, "cni0.forwarding = 0"),
    "tagged frames pass by": "no frame of the lab has a tag",
    "a container on docker0": HARMLESS,
    "all of the tunnel lost": "queues of devices (tc) are not collected",
    "node object deleted": "the API knows neither the node nor, soon, its pods: nobody can ask for them",
    "wrong ARP entry of another node": Ends(Place.NEIGHBOUR, "not at 02:00:00:00:00:99"),
    "wrong ARP entry of a pod": Ends(Place.NEIGHBOUR, "not at 02:00:00:00:00:98", near),
    "wrong ARP entry of the gateway in a pod": Ends(Place.NEIGHBOUR, "not at 02:00:00:00:00:97"),
    "veth off its bridge": Ends(Place.VETH, "is in no bridge"),
    "hairpin off": Ends(Place.BRIDGE, "hairpin off", itself),
    "veth down": Ends(Place.VETH, "is down"),
    "pod without default route": Ends(Place.ROUTE, "there is no route to"),
    "pod with another default route": Ends(Place.NEIGHBOUR, "nobody answers ARP"),
    "pod's eth0 down": Ends(Place.ROUTE, "eth0 is down"),
    "pod without address": Ends(Place.ROUTE, "there is no route to", near),
    "nft drop in a bridge": Ends(Place.BRIDGE, "nft bridge kpfault", beside),
    "nft drop of kubelet's port": Ends(Place.INPUT, "nft inet kpfault", kubelet),
    "nft drop of what arrives from a node": Ends(Place.PREROUTING, "nft ip kpfault", near),
    "nft drop of DNS": Ends(Place.FORWARD, "nft inet kpfault", dns),
    "nft redirect of the NodePort": Ends(Place.SOCKET, "nothing listens on tcp port 1", node_port),
    "NodePort redirected": Ends(Place.SOCKET, "nothing listens on tcp port 1", node_port),
    "Services passed by": Ends(Place.NIC, "no rule translates", web),
    "raw drop": Ends(Place.PREROUTING, "-t raw -A PREROUTING"),
    "mangle drop of the tunnel": Ends(Place.OUTPUT, "-t mangle -A OUTPUT"),
    "untracked NodePort": "kube-proxy holds the port: the kernel answers, and the last hop is on the node",
    "ping of pods refused": Ends(Place.INPUT, "-p icmp -j DROP", ping),
    "kubelet's port rejected": Ends(Place.INPUT, "--dport 10250 -j REJECT", kubelet),
    "DNS refused in FORWARD": Ends(Place.FORWARD, "--dport 53 -j DROP", dns),
    "INPUT closed but for ssh": Ends(Place.INPUT, "policy is DROP", near),
    "FORWARD open": HARMLESS,
    "masquerading first": "it arrives, with another source",
    "nat rules flushed": Ends(Place.NIC, "no rule translates", web),
    "rule of a Service gone": "it is the one that masks the node's own source: packets of pods go as before",
    "a second jump to Services": HARMLESS,
    "no mark for masquerading": Ends(Place.RP_FILTER, "martian source", itself),
    "route deleted": Ends(Place.ROUTE, "there is no route to"),
    "ARP entry deleted": Ends(Place.NEIGHBOUR, "no ARP entry"),
    "FDB entries deleted": Ends(Place.FDB, "no FDB entry"),
    "flannel.1 deleted": "without a tunnel routers may know the pods: the trace says that it cannot tell",
    "flannel.1 down": Ends(Place.ROUTE, "flannel.1 is down"),
    "flannel.1 too small": SMALL,
    "second address on flannel.1": "the first one stays the sender's",
    "subnet.env deleted": NEW_PODS,
    "CNI configuration deleted": NEW_PODS,
    "Docker stopped": CONTROL,
    "kubelet stopped": CONTROL,
    "kubelet masked": CONTROL,
    "kubelet held still": CONTROL,
    "etcd paused": "without the API nobody can say which pods there are: the trace says that",
    "podnet paused": CONTROL,
    "kube-controller-manager gone": CONTROL,
    "kube-scheduler gone": CONTROL,
    "API server with a wrong flag": "without the API nobody can say which pods there are: the trace says that",
    "cluster DNS scaled to 0": Ends(Place.FORWARD, "has no endpoints", dns),
    "Service of cluster DNS gone": NO_SERVICE,
    "kube-proxy wanted nowhere": CONTROL,
    "podnet wanted nowhere": CONTROL,
    "the demo scaled to 0": "there is no pod to ask from or for",
    "the demo's Service gone": NO_SERVICE,
    "cni0 too small": SMALL,
    # The faults of breaking.py
    "bridge-netfilter": Ends(Place.SOCKET, "was asked", web),
    "ip-forward": Ends(Place.ROUTE, "ip_forward = 0"),
    "swap": CONTROL,
    "cgroup-driver": CONTROL,
    "forward-accepts": Ends(Place.FORWARD, "policy is DROP"),
    "udp-path": Ends(Place.INPUT, "--dport 8472 -j DROP", near),
    "cni-mtu": SMALL,
    "underlay-mtu-too-large": SMALL,
    "vxlan-checksum-offload": "checksums are the hardware's: a trace shows where the packet was seen last",
    "pod-cidr-mismatch": "pods keep their addresses, and packets go as before",
    "cni0-address": Ends(Place.ROUTE, "there is no route to", near),
    "cni-order": NEW_PODS,
    "policies-in-force": "without a policy nothing is to be dropped",
    "policy-chains-first": "the chain is about 203.0.113.7, which is nobody here",
    "node-address": "both addresses are the node's; what packets do then was not looked at",
    "clock-skew": HARMLESS,
    "duplicate-hostname": HARMLESS,
    "duplicate-machine-id": HARMLESS,
    "duplicate-product-uuid": HARMLESS,
    "iptables-mixed": "the rule is about 203.0.113.9, which is nobody here",
    "cni-leftovers": "the chain is about 203.0.113.7, which is nobody here",
    "reset-lost-ssh": "a node that cannot be read is told as undecided, with the reason",
}
"""Or why no packet of a trace ends there."""


def where_it_ends(wanted: Ends, world: World) -> Prediction:
    """The first prediction that does not succeed, which has to end where the table says."""
    asked = list(wanted.asked(world))
    assert asked, "there is nobody to ask"
    predictions = [predicted(world, each, confirmed.source_port()) for each in asked]
    prediction = next((each for each in predictions if not each.succeeds), None)
    assert prediction, f"all of {asked} succeed"
    walk = next(each for each in prediction.walks if not each.succeeds)
    outcome = walk.outcome
    assert outcome.end in (End.DROPPED, End.REFUSED), outcome
    last = walk.hops[-1]
    assert (last.place, last.node) == (wanted.place, wanted.node().name), last
    assert wanted.words in f"{outcome.reason} {outcome.decided_by}", outcome
    return prediction


def check(name: str, inventory: LoadedInventory) -> None:
    """While the lab is broken: the trace ends there by its prediction, and a packet is seen to end there, too."""
    wanted = WAYS[name]
    if isinstance(wanted, str):
        return
    world = make(collecting.collect(inventory))
    found = confirmed.confirm(where_it_ends(wanted, world), world, inventory.ssh)
    assert not disagreement(Asked("", name), found)
