"""The good cluster of good.py with kube-proxy in its modes ipvs and nftables: computed, not run.

Rules and ipsets are as in public captures of its mode ipvs (`iptables-save`, `ipset list`, `ipvsadm -Ln` of clusters
with a clusterCIDR; pkg/proxy/ipvs/README.md and proxier.go of Kubernetes), /proc/net/ip_vs is as Linux prints it
(net/netfilter/ipvs/ip_vs_ctl.c). The table has the rules of kube-proxy's own tests (pkg/proxy/nftables,
proxier_test.go), as nft 1.0.6 lists them: they were loaded into a kernel for that.
"""

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

from kubeproof.rules.api import ApiObjects
from kubeproof.rules.context import Context
from kubeproof.state.iptables import Ruleset
from kubeproof.state.ipvs import parse_ipsets, parse_virtual_servers
from kubeproof.state.model import Address, Link
from kubeproof.state.nftables import parse_proxy_table
from kubeproof.state.node import NodeState
from tests.unit.proof import good

CLUSTER_IPS = ("10.97.0.1", "10.97.0.50", "10.97.0.77")
VIRTUAL_SERVERS = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A610001:01BB rr 
  -> 0A63000B:192B      Masq    1      2          0         
TCP  0A610032:0050 rr 
  -> 0A620102:1F90      Masq    1      0          0         
  -> 0A620103:1F90      Masq    1      0          0         
  -> 0A620202:1F90      Masq    1      0          0         
  -> 0A620209:1F90      Masq    0      1          0         
TCP  0A61004D:0050 rr 
TCP  NODE:7918 rr 
  -> 0A620102:1F90      Masq    1      0          0         
  -> 0A620103:1F90      Masq    1      0          0         
  -> 0A620202:1F90      Masq    1      0          0         
TCP  C6336401:0050 wlc persistent 360 FFFFFFFF
  -> C6336402:0050      Route   1      0          0         
"""  # noqa: W291  # as the kernel prints it
CLUSTER_IP = "Kubernetes service cluster ip + port for masquerade purpose"
IPSETS = f"""\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 comment bucketsize 12
add KUBE-CLUSTER-IP 10.97.0.1,tcp:443 comment "{CLUSTER_IP}"
add KUBE-CLUSTER-IP 10.97.0.50,tcp:80 comment "{CLUSTER_IP}"
add KUBE-CLUSTER-IP 10.97.0.77,tcp:80 comment "{CLUSTER_IP}"
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536 comment
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535 comment
add KUBE-NODE-PORT-TCP 31000
create KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535 comment
create KUBE-NODE-PORT-UDP bitmap:port range 0-65535 comment
"""
LOOP_BACK = "add KUBE-LOOP-BACK {0},tcp:8080,{0}\n"
HAIRPIN = (
    '-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"'
    " -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE\n"
)
RULES = f"""-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
{HAIRPIN}-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES ! -s 10.98.0.0/16 -m comment --comment "{CLUSTER_IP}" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
"""  # noqa: E501  # as iptables-save prints them
OF_IPTABLES_MODE = ("KUBE-SVC", "KUBE-SEP", "KUBE-NODEPORTS", "-A KUBE-SERVICES", "-A KUBE-POSTROUTING")
TABLE = Path(__file__).with_name("kube-proxy-nftables.json")


def state(name: str, mode: str) -> NodeState:
    """A node of the good cluster with kube-proxy in this mode."""
    here = good.state(name)
    if mode == "nftables":
        return replace(here, iptables=_without_proxy(name), proxy_table=parse_proxy_table(table(name)))
    loop_back = "".join(LOOP_BACK.format(ip) for _, ip in good.pod_names(name))
    return replace(
        here,
        iptables=rules(name),
        virtual_servers=parse_virtual_servers(virtual_servers(name)),
        ipsets=parse_ipsets(IPSETS + loop_back),
        network=replace(
            here.network,
            links=(*here.network.links, Link(90, "kube-ipvs0", "02:00:00:00:00:90", 1500, "DOWN", kind="dummy")),
            addresses=(
                *here.network.addresses,
                *(Address("kube-ipvs0", IPv4Interface(f"{ip}/32"), "global") for ip in CLUSTER_IPS),
            ),
        ),
    )


def context(name: str, mode: str, *, here: NodeState | None = None, objects: ApiObjects | None = None) -> Context:
    states = {other: state(other, mode) for other in good.NAMES}
    states[name] = here or states[name]
    loaded = good.loaded(kube_proxy_mode=mode)
    return Context(loaded.cluster.node(name), loaded, states[name], states, objects or good.api())


def virtual_servers(name: str) -> str:
    return VIRTUAL_SERVERS.replace("NODE", f"{int(good.address(name)):08X}")


def rules(name: str, *changes: tuple[str, str]) -> Ruleset:
    """The rules of a node in mode ipvs; each old text is replaced by the new one, and has to be there."""
    text = RULES if good.POD_INDICES[name] else RULES.replace(HAIRPIN, "")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    lines = [line for line in good.RULES.splitlines() if not any(word in line for word in OF_IPTABLES_MODE)]
    assert lines.pop() == "COMMIT"
    nat = lines.index("*nat") + 1
    whole = [*lines[:nat], ":KUBE-NODE-PORT - [0:0]", *lines[nat:], text + "COMMIT\n"]
    return good.parsed("\n".join(whole).replace("SUBNET", str(good.subnet(name))))


def _without_proxy(name: str) -> Ruleset:
    lines = [line for line in good.RULES.splitlines() if "KUBE-" not in line]
    return good.parsed("\n".join(lines).replace("SUBNET", str(good.subnet(name))) + "\n")


def table(name: str) -> str:
    """The table of a node, which has its address in it."""
    return TABLE.read_text().replace("10.99.0.12", str(good.address(name)))
