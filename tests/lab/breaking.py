"""Ways to break a lab that last until somebody repairs them: one for each diagnosis of the doctor."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from kubeproof.config.tables import paths
from lab import container
from lab.paths import SSH_CONFIG
from lab.settings import LabNode, load
from lab.wait import wait_until
from tests.lab.remote import kubectl, ssh

SECONDS = 60
PODNET = "-n kube-system set env daemonset/podnet"
AGENT = "$(docker ps -q --filter label=io.kubernetes.container.name=podnet)"
CONFIG, FLAGS = "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"
TOOLS = "/usr/local/bin"
"""Programs here come before the system's own: stand-ins for what a container cannot have of its own."""
DMI = "/run/kubeproof-test/class"
MOUNT_DMI = f"mount -t overlay overlay -o lowerdir={DMI}:/sys/class /sys/class"
SWAPS = "/run/kubeproof-test-swaps"
SHRUNK = 1400
"""Bytes that the way between two nodes carries, where its interfaces say 1500."""


def leader() -> LabNode:
    return load().nodes[0]


def worker() -> LabNode:
    return load().nodes[1]


def other() -> LabNode:
    return load().nodes[2]


def console(node: str, command: str) -> str:
    """Run shell text on a node without ssh."""
    init = str(container.init_pid(node))
    words = ["nsenter", "--target", init, "--mount", "--uts", "--ipc", "--net", "--pid", "sh", "-c", command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{node}: {command}: {done.stderr}"
    return done.stdout.strip()


def on_worker(command: str) -> Callable[[], None]:
    """Run shell text on the first worker."""
    return lambda: (ssh(worker().name, command), None)[1]


def put(node: str, path: str, text: str, mode: str = "755") -> None:
    """Write a file on a node."""
    ssh(node, f"mkdir -p {path.rpartition('/')[0]} && cat >{path} && chmod {mode} {path}", stdin=text)


def subnet(node: LabNode) -> IPv4Network:
    return IPv4Network(kubectl(f"get node {node.name} -o jsonpath='{{.spec.podCIDR}}'"))


def healthy_kubelet() -> bool:
    return ssh(worker().name, "curl -s -m 3 http://127.0.0.1:10248/healthz || true") == "ok"


def kubelet_up() -> None:
    """Start kubelet again where it gave up, and wait for it."""
    ssh(worker().name, "curl -s -m 3 http://127.0.0.1:10248/healthz >/dev/null || systemctl restart kubelet")
    wait_until(healthy_kubelet, seconds=SECONDS, what="kubelet to answer")


def kubelet_refuses() -> None:
    """Restart kubelet, and wait until it has given up."""
    ssh(worker().name, "systemctl restart kubelet")
    wait_until(lambda: not healthy_kubelet(), seconds=SECONDS, what="kubelet to give up")


def agents_rolled_out() -> None:
    kubectl("-n kube-system rollout status daemonset/podnet --timeout=180s")


# Kernel and kubelet ---------------------------------------------------------------------------------------------------


def swap() -> None:
    """The kernel's swap is that of all nodes and of the machine: what this node sees of it is replaced."""
    name = worker().name
    put(name, f"{TOOLS}/swapoff", "#!/bin/sh\numount /proc/swaps\n")
    line = "/swapfile file 1048572 0 -2"
    ssh(name, f"{{ cat /proc/swaps; echo '{line}'; }} >{SWAPS} && mount --bind {SWAPS} /proc/swaps")
    kubelet_refuses()


def no_swap() -> None:
    ssh(worker().name, f"umount /proc/swaps 2>/dev/null; rm -f {TOOLS}/swapoff {SWAPS}")
    kubelet_up()


def other_driver() -> None:
    ssh(worker().name, f"sed -i 's/^cgroupDriver:.*/cgroupDriver: systemd/' {CONFIG}")
    kubelet_refuses()


def own_driver() -> None:
    ssh(worker().name, f"sed -i 's/^cgroupDriver:.*/cgroupDriver: cgroupfs/' {CONFIG}")
    kubelet_up()


CLOCK = """#!/bin/sh
case "$1" in --set=*) rm -f "$0";; *) exec /usr/bin/date -d "@$(($(/usr/bin/date +%s) + 600))" "$@";; esac
"""


# The pod network ------------------------------------------------------------------------------------------------------


def without_accepts() -> None:
    """podnet would bring them back at once; agents that set them only when they start are common."""
    pods = load().pod_cidr
    freeze_agent()
    ssh(worker().name, f"iptables -D FORWARD -s {pods} -j ACCEPT && iptables -D FORWARD -d {pods} -j ACCEPT")


def freeze_agent() -> None:
    """Not by `docker pause`, which is a cause of its own."""
    ssh(worker().name, f"docker kill --signal STOP {AGENT}")


def thaw_agent() -> None:
    ssh(worker().name, f"docker kill --signal CONT {AGENT}")


def uplink() -> str:
    """Name of the worker's end on the lab's bridge."""
    index = ssh(worker().name, "cat /sys/class/net/host0/iflink")
    found = [link for link in Path("/sys/class/net").iterdir() if (link / "ifindex").read_text().strip() == index]
    return found[0].name


def smaller_interfaces() -> None:
    """As when interfaces are set to what a cloud carries: the bridge and the pods that are there keep their size."""
    for node in load().nodes:
        ssh(node.name, f"ip link set dev host0 mtu {SHRUNK}")


def shrink_the_way() -> None:
    """A port of the lab's bridge, which no node sees, drops what is larger."""
    subprocess.run(["ip", "link", "set", "dev", uplink(), "mtu", str(SHRUNK)], check=True)


def widen_the_way() -> None:
    subprocess.run(["ip", "link", "set", "dev", uplink(), "mtu", "1500"], check=True)
    pods = "$(docker inspect -f '{{.State.Pid}} {{.HostConfig.NetworkMode}}' $(docker ps -q) | sed -n 's/ none$//p')"
    for node in load().nodes:
        devices = "for dev in flannel.1 cni0; do ip link set dev $dev mtu 1450; done"
        inside = f"for pid in {pods}; do nsenter -t $pid -n ip link set dev eth0 mtu 1450; done"
        ssh(node.name, f"ip link set dev host0 mtu 1500 && {devices}; {inside}")


def broken_offload() -> None:
    """An interface that is left the checksums, and gets those inside of the tunnel wrong.

    Its driver's work is done by the kernel (tx off). What the VXLAN device left unfinished is recognised by the sum
    over the pseudo header, which is known beforehand for the first packet of a connection (40 bytes), and spoiled.
    """
    here = subnet(worker())[0]
    there = [subnet(node)[0] for node in load().nodes if node.name != worker().name]
    there += [IPv4Address(ip) for ip in kubectl("get pods -o jsonpath='{.items[*].status.podIP}'").split()]
    spoil = "udp dport 8472 @th,528,16 {:#06x} @th,528,16 set 0xbad0"
    rules = "".join(f"add rule ip kpfault out {spoil.format(pseudo_sum(here, end))}\n" for end in there)
    chain = "add table ip kpfault\nadd chain ip kpfault out { type filter hook output priority 0; }\n"
    ssh(worker().name, "ethtool -K host0 tx off >/dev/null && nft -f -", stdin=chain + rules)


def pseudo_sum(source: IPv4Address, destination: IPv4Address, length: int = 40) -> int:
    """Sum over TCP's pseudo header, not inverted: what a checksum that is left to hardware begins with (RFC 9293)."""
    words = source.packed + destination.packed
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, 8, 2)) + 6 + length
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def good_offload() -> None:
    ssh(worker().name, "nft delete table ip kpfault 2>/dev/null; ethtool -K host0 tx on >/dev/null")
    ssh(worker().name, "ethtool -K flannel.1 tx on >/dev/null")


def other_pod_cidr() -> None:
    kubectl(f"{PODNET} POD_CIDR=10.199.0.0/16")
    ready = '-o jsonpath=\'{range .items[*]}{.spec.containers[0].env[?(@.name=="POD_CIDR")].value}{"\\n"}{end}\''

    def all_new() -> bool:
        told = kubectl(f"-n kube-system get pods -l app=podnet {ready}").splitlines()
        return told == ["10.199.0.0/16"] * len(load().nodes)

    wait_until(all_new, seconds=SECONDS, what="all agents to have the other pod CIDR")


def own_pod_cidr() -> None:
    kubectl(f"{PODNET} POD_CIDR={load().pod_cidr}")
    agents_rolled_out()


def switch_policies_off() -> None:
    kubectl(f"{PODNET} NETWORK_POLICY=off")

    def gone() -> bool:
        tables = [ssh(node.name, "nft list tables") for node in load().nodes]
        return not any("podnet" in listed for listed in tables)

    wait_until(gone, seconds=SECONDS, what="the rules of policies to be gone")


def switch_policies_on() -> None:
    kubectl(f"{PODNET} NETWORK_POLICY=enforce")
    agents_rolled_out()


def stale_bridge() -> None:
    ssh(worker().name, "ip -4 addr flush dev cni0 && ip addr add 10.199.7.1/24 dev cni0")


def own_bridge() -> None:
    own = subnet(worker())
    ssh(worker().name, f"ip -4 addr flush dev cni0 && ip addr add {own[1]}/{own.prefixlen} dev cni0")


OLD_CONFIGURATION = """{"cniVersion": "0.3.1", "name": "old", "plugins": [{"type": "bridge", "bridge": "old0",
 "ipam": {"type": "host-local", "subnet": "10.199.0.0/24"}}]}
"""
POLICY_CHAIN = "iptables -N KUBE-ROUTER-FORWARD && iptables -A KUBE-ROUTER-FORWARD -d 203.0.113.7 -j DROP"
NO_POLICY_CHAIN = (
    "iptables -D FORWARD -j KUBE-ROUTER-FORWARD; iptables -F KUBE-ROUTER-FORWARD; iptables -X KUBE-ROUTER-FORWARD; true"
)

# Nodes ----------------------------------------------------------------------------------------------------------------

SECOND_ADDRESS = "172.29.7.12"


def wrong_address() -> None:
    name = worker().name
    edit = f"sed -i 's/--node-ip=[^ \"]*/--node-ip={SECOND_ADDRESS}/' {FLAGS}"
    ssh(name, f"ip addr add {SECOND_ADDRESS}/24 dev host0 && {edit} && systemctl restart kubelet")
    wait_until(lambda: _internal() == SECOND_ADDRESS, seconds=SECONDS, what="the API to have the other address")


def _internal() -> str:
    return kubectl(f"get node {worker().name} -o jsonpath='{{.status.addresses[?(@.type==\"InternalIP\")].address}}'")


def own_address() -> None:
    node = worker()
    ssh(
        node.name,
        f"sed -i 's/--node-ip={SECOND_ADDRESS}/--node-ip={node.address}/' {FLAGS} && systemctl restart kubelet",
    )
    wait_until(lambda: _internal() == str(node.address), seconds=SECONDS, what="the API to have the node's address")
    ssh(node.name, f"ip addr del {SECOND_ADDRESS}/24 dev host0 2>/dev/null; true")


def hostname(of: Callable[[], LabNode]) -> Callable[[], None]:
    return lambda: (ssh(worker().name, f"echo {of().name} >/etc/hostname && hostname {of().name}"), None)[1]


SAVED_ID = "/run/kubeproof-test-machine-id"


def twin_machine_id() -> None:
    for node in (worker(), other()):
        ssh(node.name, f"cp /etc/machine-id {SAVED_ID}")
    ssh(worker().name, f"echo {ssh(other().name, 'cat /etc/machine-id')} >/etc/machine-id")


def own_machine_ids() -> None:
    for node in (worker(), other()):
        ssh(node.name, f"[ ! -e {SAVED_ID} ] || {{ cat {SAVED_ID} >/etc/machine-id && rm {SAVED_ID}; }}")


def twin_uuid() -> None:
    """Containers have their machine's; here two nodes are made to look like clones of one virtual machine."""
    for node in (worker().name, other().name):
        put(node, f"{TOOLS}/systemd-detect-virt", "#!/bin/sh\necho none; exit 1\n")
        put(node, f"{DMI}/dmi/id/product_uuid", "11111111-2222-3333-4444-555555555555\n", "444")
        ssh(node, MOUNT_DMI)


def no_uuid() -> None:
    for node in (worker().name, other().name):
        ssh(node, f"umount /sys/class 2>/dev/null; rm -rf {TOOLS}/systemd-detect-virt /run/kubeproof-test")


HYPERVISOR = f"""#!/bin/sh
# What libvirt's virt-xml does for NAME --edit --metadata uuid=UUID.
exec ssh -F {SSH_CONFIG} "$1" "umount /sys/class; echo ${{4#uuid=}} >{DMI}/dmi/id/product_uuid; {MOUNT_DMI}"
"""


def lock_out() -> None:
    """What a flush leaves of a firewall that drops by default."""
    console(worker().name, "iptables -P INPUT DROP && iptables -F INPUT")


def let_in() -> None:
    console(worker().name, "iptables -P INPUT ACCEPT")


def foreign_remains() -> None:
    """A tunnel of Calico's, with a route, and a chain of its rules."""
    link = "ip link add vxlan.calico type vxlan id 4096 dstport 4789 dev host0 && ip link set vxlan.calico up"
    route = f"ip route add {list(load().pod_cidr.subnets(new_prefix=26))[-2]} dev vxlan.calico"
    chain = "iptables -N cali-INPUT && iptables -A cali-INPUT -d 203.0.113.7 -j DROP && iptables -A INPUT -j cali-INPUT"
    ssh(worker().name, f"{link} && {route} && {chain}")


def no_remains() -> None:
    chain = "iptables -D INPUT -j cali-INPUT; iptables -F cali-INPUT; iptables -X cali-INPUT"
    ssh(worker().name, f"{{ ip link delete vxlan.calico; {chain}; }} 2>/dev/null; true")


@dataclass(frozen=True)
class Fault:
    """A way to break the lab that has one cause.

    ``reason`` says why something had to stand in for the cause itself, where that is so. ``frozen`` is whether the
    worker's agent was stopped for it; then only the checks about the agent may fail after the remedy.
    """

    name: str
    make: Callable[[], None]
    restore: Callable[[], None]
    reason: str = ""
    frozen: bool = False
    by_command: bool = False
    usual: bool = False
    """Whether it is made in every run of the tests, and not only where all are asked for."""


FAULTS: tuple[Fault, ...] = (
    Fault(
        "bridge-netfilter",
        on_worker("sysctl -qw net.bridge.bridge-nf-call-iptables=0"),
        on_worker("sysctl -qw net.bridge.bridge-nf-call-iptables=1"),
        usual=True,
    ),
    Fault(
        "ip-forward",
        on_worker("sysctl -qw net.ipv4.ip_forward=0"),
        on_worker("sysctl -qw net.ipv4.ip_forward=1"),
    ),
    Fault(
        "swap",
        swap,
        no_swap,
        reason="swap is the kernel's, which all nodes share with the machine: /proc/swaps and swapoff(8) stand in, "
        "that kubelet refuses is real",
        by_command=True,
        usual=True,
    ),
    Fault("cgroup-driver", other_driver, own_driver),
    Fault("forward-accepts", without_accepts, thaw_agent, frozen=True, usual=True),
    Fault(
        "udp-path",
        on_worker("iptables -I INPUT -p udp --dport 8472 -j DROP"),
        on_worker("iptables -D INPUT -p udp --dport 8472 -j DROP 2>/dev/null || true"),
        by_command=True,
        usual=True,
    ),
    Fault("cni-mtu", smaller_interfaces, widen_the_way, usual=True),
    Fault("underlay-mtu-too-large", shrink_the_way, widen_the_way),
    Fault(
        "vxlan-checksum-offload",
        broken_offload,
        good_offload,
        reason="a node's interface has no driver that could be wrong: nftables spoils what was left to it to finish",
        usual=True,
    ),
    Fault("pod-cidr-mismatch", other_pod_cidr, own_pod_cidr, usual=True),
    Fault("cni0-address", stale_bridge, own_bridge, usual=True),
    Fault(
        "cni-order",
        lambda: put(worker().name, "/etc/cni/net.d/05-old.conflist", OLD_CONFIGURATION, "644"),
        on_worker("rm -f /etc/cni/net.d/05-old.conflist"),
    ),
    Fault("policies-in-force", switch_policies_off, switch_policies_on, usual=True),
    Fault(
        "policy-chains-first",
        on_worker(f"{POLICY_CHAIN} && iptables -A FORWARD -j KUBE-ROUTER-FORWARD"),
        on_worker(NO_POLICY_CHAIN),
        reason="podnet enforces by a table of its own, past which nothing gets: the chain is another enforcer's",
    ),
    Fault("node-address", wrong_address, own_address),
    Fault(
        "clock-skew",
        lambda: put(worker().name, f"{TOOLS}/date", CLOCK),
        on_worker(f"rm -f {TOOLS}/date"),
        reason="the clock is the kernel's, which all nodes share with the machine: date(1) is a stand-in",
    ),
    Fault("duplicate-hostname", hostname(other), hostname(worker), usual=True),
    Fault("duplicate-machine-id", twin_machine_id, own_machine_ids),
    Fault(
        "duplicate-product-uuid",
        twin_uuid,
        no_uuid,
        reason="nodes are containers and have none of their own: /sys, systemd-detect-virt(1) and virt-xml(1) stand in",
    ),
    Fault(
        "iptables-mixed",
        on_worker("iptables-legacy -A INPUT -s 203.0.113.9 -j DROP"),
        on_worker("iptables-legacy -F; rm -f /run/iptables-legacy.saved"),
        usual=True,
    ),
    Fault("cni-leftovers", foreign_remains, no_remains),
    Fault("reset-lost-ssh", lock_out, let_in, by_command=True, usual=True),
)
"""In the order of the doctor's own table. What a reset leaves, and a join without token: see test_doctor.py."""

JOIN = """apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery:
  timeout: 5s
  bootstrapToken: {token: TOKEN, apiServerEndpoint: "ADDRESS:6443", unsafeSkipCAVerification: true}
"""


def take_out(node: LabNode) -> None:
    """What people do by hand to take a node out of a cluster, and to find out what kubeadm leaves."""
    kubectl(f"delete node {node.name}")
    ssh(node.name, "kubeadm reset --force >/dev/null 2>&1")


def join_too_late(node: LabNode) -> str:
    """Try to join with a token that has just been deleted, as one is that has expired; return what kubeadm says."""
    token = ssh(leader().name, "kubeadm token create --ttl 2m")
    ssh(leader().name, f"kubeadm token delete {token.partition('.')[0]}")
    text = JOIN.replace("TOKEN", token).replace("ADDRESS", str(leader().address))
    put(node.name, paths.JOIN_CONFIG, text, "600")
    return ssh(
        node.name, f"timeout 60 kubeadm join --config {paths.JOIN_CONFIG} --ignore-preflight-errors=all 2>&1 || true"
    )


def spread_the_demo() -> None:
    """Pods do not move back by themselves to a node that has come back, and the proof wants some on each."""
    kubectl("delete pods -l app=kuard --wait=false")
    kubectl("delete pods -l name=networkpolicy-demo --wait=false")
    kubectl("rollout status deployment/kuard --timeout=180s")
    kubectl("rollout status deployment/httpd --timeout=180s")
