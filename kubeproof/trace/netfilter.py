"""All that netfilter does at one hook of a namespace, in the order of priorities. Pure.

Order: linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. Translation of a connection's first packet is the chains' of
type nat, once for its destination and once for its source; a reply is translated back without a chain being asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kubeproof.trace import nft_rules
from kubeproof.trace.collecting import Facts
from kubeproof.trace.iptables_rules import Run
from kubeproof.trace.model import End, Outcome, Place
from kubeproof.trace.passing import ESTABLISHED, Decision, EndedError, Passing, undecided
from kubeproof.trace.world import Iptables, Space, UnknownError

RAW, MANGLE, DNAT, FILTER, SECURITY, SNAT = -300, -150, -100, 0, 50, 100
_AT: Mapping[Place, Mapping[str, int]] = {
    Place.PREROUTING: {"raw": RAW, "mangle": MANGLE, "nat": DNAT},
    Place.INPUT: {"mangle": MANGLE, "filter": FILTER, "security": SECURITY, "nat": SNAT},
    Place.FORWARD: {"mangle": MANGLE, "filter": FILTER, "security": SECURITY},
    Place.OUTPUT: {"raw": RAW, "mangle": MANGLE, "nat": DNAT, "filter": FILTER, "security": SECURITY},
    Place.POSTROUTING: {"mangle": MANGLE, "nat": SNAT},
}
_OF_IPVS: Mapping[Place, int] = {Place.INPUT: SNAT - 1, Place.OUTPUT: DNAT + 2}
ROUND_ROBIN = "rr"
KUBE_PROXY = "kube-proxy"
BRIDGE_NETFILTER = 0
"""Priority at which br_netfilter sends frames through iptables (netfilter_bridge.h, NF_BR_PRI_BRNF)."""
_TABLES = frozenset(("raw", "mangle", "nat", "filter", "security"))
_FAMILIES, _OF_DEVICES, _OF_BRIDGES = ("ip", "inet"), ("netdev", "inet"), ("bridge",)
"""Families of nftables that see packets, those with chains of one device, and the one that sees bridged frames."""
_Step = tuple[int, bool, Callable[[Passing], None]]
"""Priority, whether it is of nat, and what is done."""


class Firewall:
    """The rules of one namespace."""

    def __init__(self, space: Space, facts: Facts) -> None:
        self.space = space
        self.facts = facts
        self._steps: dict[Place | tuple[str, str], list[_Step]] = {}

    def traverse(self, passing: Passing) -> None:
        """Send a packet through a hook. Raises EndedError where that is its end, or where it is undecided."""
        steps = self._at(passing.hook)
        is_destination = passing.hook in (Place.PREROUTING, Place.OUTPUT)
        translation = 0 if passing.hook is Place.FORWARD else DNAT if is_destination else SNAT
        is_translated, was_scheduled = not translation, passing.is_scheduled
        for priority, is_nat, run in steps:
            if not is_translated and priority > translation:
                _translate_back(passing, is_destination)
                is_translated = True
            if not is_nat:
                run(passing)
                if passing.is_scheduled and not was_scheduled:
                    return  # IPVS sends it on from here: chains of nat are asked for its source when it leaves
            elif passing.is_first and not _is_settled(passing, is_destination):
                before = passing.packet
                run(passing)
                if passing.packet != before:
                    _settle(passing, is_destination)
        if not is_translated or (passing.hook is Place.FORWARD and passing.is_scheduled):
            _translate_back(passing, is_destination)
        if translation:
            _settle(passing, is_destination)

    def see_frame(self, passing: Passing, hook: str, *, late: bool | None = None) -> None:
        """Send a frame through chains of nftables that see frames: at a bridge those of its family, else a device's.

        ``late`` are those after br_netfilter has sent it through iptables, False those before. Raises EndedError.
        """
        device = "" if passing.hook is Place.BRIDGE else passing.in_device or passing.out_device
        if (hook, device) not in self._steps:
            found = self._nft(hook, _OF_DEVICES if device else _OF_BRIDGES, device)
            self._steps[hook, device] = sorted(found, key=lambda step: step[0])
        for priority, _, run in self._steps[hook, device]:
            if late is None or late is (priority > BRIDGE_NETFILTER):
                run(passing)

    def _at(self, hook: Place) -> list[_Step]:
        if hook not in self._steps:
            steps = [*self._iptables(hook), *self._nft(hook.value, _FAMILIES), *self._ipvs(hook)]
            self._steps[hook] = sorted(steps, key=lambda step: step[0])
        return self._steps[hook]

    def _iptables(self, hook: Place) -> list[_Step]:
        chain = hook.value.upper()
        found: list[_Step] = []
        for tables in self.space.iptables:
            if tables.unshown:
                raise UnknownError(f"{self.space}: iptables cannot show its table {', '.join(tables.unshown)}")
            for table, priority in _AT[hook].items():
                if tables.has(table, chain):
                    found.append((priority, table == "nat", self._through(tables, table, chain)))
        return found

    def _through(self, tables: Iptables, table: str, chain: str) -> Callable[[Passing], None]:
        return lambda passing: Run(tables, table, passing, self.facts).through(chain)

    def _nft(self, hook: str, families: tuple[str, ...], device: str = "") -> list[_Step]:
        found: list[_Step] = []
        own = {table for tables in self.space.iptables if not tables.is_legacy for table in tables.tables}
        for table in nft_rules.tables_of(self.space.nft):
            if table.family not in families or (table.family == "ip" and table.name in own & _TABLES):
                continue
            for name, chain in table.chains.items():
                if chain.get("hook") == hook and (not device or device in _devices(chain)):
                    priority, is_nat = int(chain.get("prio", 0)), chain.get("type") == "nat"
                    found.append((priority, is_nat, self._through_nft(table, name)))
        return found

    @staticmethod
    def _through_nft(table: nft_rules.Table, chain: str) -> Callable[[Passing], None]:
        return lambda passing: nft_rules.Run(table, passing).through(chain)

    def _ipvs(self, hook: Place) -> list[_Step]:
        """IPVS takes what is for a virtual server (net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4)."""
        if hook not in _OF_IPVS or not self.space.virtual_servers:
            return []
        return [(_OF_IPVS[hook], False, self._schedule)]

    def _schedule(self, passing: Passing) -> None:
        packet = passing.packet
        found = (packet.protocol, packet.destination, packet.destination_port)
        server = self.space.virtual_servers.get(found)
        if server is None or passing.is_reply or passing.is_scheduled:
            return
        if passing.tracked is None:
            raise undecided("what IPVS does with a packet that conntrack does not follow is not modelled")
        text, count = f"virtual server {server} {server.scheduler}", len(server.in_use)
        if not count:
            told = f"IPVS has no server for {packet.destination}: the kernel answers ICMP port unreachable"
            raise EndedError(Outcome(End.REFUSED, told, text, KUBE_PROXY))
        if count > 1 and server.scheduler != ROUND_ROBIN:
            raise undecided(f"IPVS chooses by {server.scheduler}, which is not modelled", text, KUBE_PROXY)
        chosen = server.in_use[passing.chance.choose([1 / count] * count) if count > 1 else 0]
        if chosen.method != "Masq":
            raise undecided(f"IPVS forwards by {chosen.method}, which is not modelled", text, KUBE_PROXY)
        if server.persistent:
            passing.notes.append("a client that has connected before stays with the endpoint that it had (IPVS)")
        passing.send_to(chosen.address, chosen.port)
        passing.tracked.is_scheduled = passing.tracked.destination_settled = True
        passing.decisions.append(Decision(f"IPVS sends it to {chosen}", f"{text} -> {chosen}", KUBE_PROXY))


def _devices(chain: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a chain at ingress or egress, which libnftables prints as one name or as several."""
    devices = chain.get("dev", ())
    return (devices,) if isinstance(devices, str) else tuple(devices)


def _is_settled(passing: Passing, is_destination: bool) -> bool:
    tracked = passing.tracked
    return tracked is None or (tracked.destination_settled if is_destination else tracked.source_settled)


def _settle(passing: Passing, is_destination: bool) -> None:
    if passing.tracked and passing.is_first:
        if is_destination:
            passing.tracked.destination_settled = True
        else:
            passing.tracked.source_settled = True


def _translate_back(passing: Passing, is_destination: bool) -> None:
    """A reply's destination was the source that was translated, and the other way round."""
    tracked = passing.tracked
    if tracked is None or not passing.is_reply or passing.state != ESTABLISHED:
        return
    answer, before = tracked.original.reply, passing.packet
    if is_destination:
        after = replace(before, destination=answer.destination, destination_port=answer.destination_port)
        what = f"back to {answer.destination}, which SNAT had changed"
    else:
        after = replace(before, source=answer.source, source_port=answer.source_port)
        by = "IPVS" if passing.is_scheduled else "DNAT"
        what = f"source back to {after.source}:{after.source_port}, which {by} had changed"
    if after != before:
        passing.packet = after
        passing.decisions.append(Decision(what, "conntrack entry of the connection", "conntrack"))
