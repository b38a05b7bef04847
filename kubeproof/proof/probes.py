"""The probe matrix between demo pods, nodes and Services: what is sent, and what must come back. Pure."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from kubeproof.config.cluster import Node
from kubeproof.config.patience import patient
from kubeproof.networks.network import Source
from kubeproof.proof.capture import capture_command, judge_capture
from kubeproof.proof.probe import (
    NO_DNS_ANSWER,
    REQUEST_SECONDS,
    FailedError,
    Probe,
    Whoami,
    compared,
    curl,
    in_namespace,
    read_answer,
    read_whoami,
)
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects, Pod, Service
from kubeproof.rules.context import UndecidedError
from kubeproof.rules.result import CheckResult, Status
from kubeproof.state.collector import Output
from kubeproof.state.containers import TOOLS
from kubeproof.state.iptables import Rule
from kubeproof.state.verdict import Packet, verdict

KUARD = "default/kuard"
HTTPD = "default/httpd-svc"
KUBERNETES = "default/kubernetes"
KUARD_PORT = 8080
REPETITIONS = 4
"""Requests to one Service: each goes to an endpoint at random, the client's own pod included."""
LARGE_BYTES = 8 * 1024 * 1024
LARGE_SECONDS = 6
NOT_SENT = re.compile(r"(?:ping: )?(?:connect|sendmsg|sendto): ")
"""How ping begins to say that the kernel has no way for a packet, or may not let it out (no route, a filter)."""
ICMP_HEADERS = 28
"""Bytes of IPv4 and ICMP headers: what an echo's data is shorter than the packet."""

TITLES = {
    "pod-to-pod-same-node": "a pod reaches a pod of its node, which sees the client's own address and port",
    "pod-to-pod-other-node": "a pod reaches a pod of another node, which sees the client's own address and port",
    "pod-to-node": "a pod reaches each node's address",
    "node-to-pod": "a node reaches each demo pod, which sees an address of that node",
    "service-by-address": "a pod reaches a Service by its cluster IP, and an endpoint answers",
    "service-by-name": "a pod reaches Services by DNS name",
    "dns-names": "names of Services resolve to their cluster IPs in a pod",
    "dns-reverse": "a cluster IP resolves to the name of its Service in a pod",
    "node-port": "a client outside of the cluster reaches the demo by its NodePort on this node",
    "large-transfer": f"{LARGE_BYTES >> 20} MiB arrive whole from a pod of another node",
    "path-mtu": "a packet of the pod network's MTU passes with DF set, one byte more is refused",
    "packet-on-the-wire": "between nodes: outer addresses of the nodes, VXLAN, inner addresses of the pods unchanged",
}
"""Rows of the matrix, in the order in which a person reads them."""
LOOK_AT_DEMO = "kubectl get pods,services,endpoints -o wide"
BETWEEN_NODES = ("pod-to-pod-other-node", "large-transfer", "path-mtu", "packet-on-the-wire")
"""Rows that need a demo pod on another node, too."""
FROM_PODS = tuple(name for name in TITLES if name not in ("node-to-pod", "node-port"))


@dataclass(frozen=True)
class Client:
    """A demo pod that probes can be sent from: its pause's process, and its container's id."""

    pod: Pod
    pid: int
    container: str | None

    def probe(
        self, name: str, *, to: str, command: str, expected: str, judge: Callable[[Output], str], to_node: str = ""
    ) -> Probe:
        """By a program of the node, in the pod's network namespace."""
        label = f"{self.pod.name} to {to}"
        return Probe(name, self.pod.node, label, in_namespace(self.pid, command), expected, judge, to_node=to_node)


@dataclass(frozen=True)
class Matrix:
    """All probes, and a row for each that cannot be run, with the reason."""

    probes: tuple[Probe, ...]
    not_run: tuple[CheckResult, ...]


def plan(snapshot: Snapshot) -> Matrix:
    """The probes of a cluster as it was read, those from and to the nodes that are not left out. Without the demo, or
    without the API, there are none."""
    names = [node.name for node in snapshot.proven]
    if not snapshot.loaded.cluster.settings.demo:
        return Matrix((), _rows(names, Status.NOT_RUN, "the demo is switched off (demo = False)"))
    if isinstance(snapshot.objects, str):
        return Matrix((), _rows(names, Status.BROKEN, f"no API: {snapshot.objects}"))
    missing = _missing_demo(snapshot.objects)
    if missing:
        return Matrix((), _rows(names, Status.BROKEN, missing))
    planner = _Planner(snapshot, snapshot.objects)
    probes = tuple(planner.probes())
    return Matrix(
        tuple(probe for probe in probes if probe.node in names or probe.to_node in names),
        tuple(row for row in planner.gaps(probes) if row.node in names),
    )


def _rows(nodes: list[str], status: Status, reason: str) -> tuple[CheckResult, ...]:
    """Every row of the matrix on every node, with one and the same end."""
    return tuple(
        CheckResult(node, name, status, title, reason, LOOK_AT_DEMO) for name, title in TITLES.items() for node in nodes
    )


def _missing_demo(objects: ApiObjects) -> str | None:
    if not objects.labelled("default", "app", "kuard"):
        return "no pod of the Deployment default/kuard is ready"
    services = [name for name in (KUARD, HTTPD) if objects.service(name) is None]
    return f"there is no Service {', '.join(services)}" if services else None


class _Planner:
    def __init__(self, snapshot: Snapshot, objects: ApiObjects) -> None:
        self.snapshot = snapshot
        self.objects = objects
        self.cluster = snapshot.loaded.cluster
        self.tool = TOOLS[self.cluster.settings.container_runtime]
        self.nodes = [node for node in self.cluster.nodes if node.name in snapshot.states]
        self.kuards = objects.labelled("default", "app", "kuard")
        self.servers = tuple(pod for pod in self.kuards if not self._isolating(pod))
        self.clients = [client for pod in self.servers if (client := self._client(pod))]

    def _client(self, pod: Pod) -> Client | None:
        state = self.snapshot.states.get(pod.node)
        pause = state.sandbox(pod.full_name) if state else None
        if state is None or pause is None:
            return None
        inside = next((item.id for item in state.containers if item.pod == pod.full_name and not item.is_sandbox), None)
        return Client(pod, pause.pid, inside)

    def probes(self) -> Iterator[Probe]:
        hidden = self.hidden
        return (probe for probe in self._all() if not hidden[probe.name])

    def _all(self) -> Iterator[Probe]:
        for client in self.clients:
            yield from self._to_pods(client)
            yield from self._to_nodes(client)
            yield from self._to_services(client)
            yield from self._by_names(client)
        yield from self._from_pages()
        yield from self._from_nodes()
        yield from self._across_nodes()

    # Policies -------------------------------------------------------------------------------------------------------

    def _isolating(self, *pods: Pod) -> tuple[str, ...]:
        """Policies that isolate one of some pods, where they have an effect: what such a pod does not answer, or is not
        let out, says nothing of the network."""
        if not self.cluster.settings.enforces_policy:
            return ()
        return tuple(sorted({name for pod in pods for name in self.objects.isolating(pod)}))

    @property
    def hidden(self) -> dict[str, tuple[str, ...]]:
        """Rows that say nothing, with the policies because of which: any endpoint of their Services may be asked."""
        pages = self._isolating(*self.objects.labelled("default", "name", "networkpolicy-demo"))
        names = self._isolating(*self.objects.labelled("kube-system", "k8s-app", "kube-dns"))
        kuards = self._isolating(*self.kuards)
        clients = () if self.servers else kuards
        return dict.fromkeys(TITLES, clients) | {
            "service-by-address": kuards,
            "service-by-name": tuple(sorted({*kuards, *names, *pages})),
            "dns-names": clients or names,
            "dns-reverse": clients or names,
            "node-port": pages or (kuards if self.objects.isolated is None else ()),
        }

    # Addresses ------------------------------------------------------------------------------------------------------

    def _seen_from(self, node: str, server: str) -> tuple[IPv4Address | None, ...]:
        """Addresses that a pod on ``server`` may see a node as.

        Where it is the node's own, the kernel takes one of them for the node's own pods; other nodes' pods see that of
        the underlay.
        """
        settings = self.cluster.settings
        source = settings.network.source_of_node(settings.cni_backend, own_pod=node == server)
        context = self.snapshot.context(node)
        try:
            if source is Source.BRIDGE:
                return (context.gateway,)
            if source is Source.TUNNEL:
                routed = (context.underlay_address,) if settings.cni_cross_subnet else ()
                return (context.tunnel_address_of(node), *routed)
        except UndecidedError:
            return (None,)
        if node != server:
            return (context.underlay_address,)
        state = self.snapshot.states[node]
        return tuple(address.ip for address in state.network.addresses if address.scope == "global")

    def _masquerading(self, node: str, server: Pod, sources: tuple[IPv4Address | None, ...]) -> Rule | None:
        """The rule of a node that masquerades its own packets to a pod, which may give them another port.

        flannel has it for sources outside of the pod CIDR, so that it matters with host-gw alone, and only to pods of
        other nodes. Where the rules cannot be read, nothing is known of ports, and `postrouting-verdicts` fails.
        """
        context = self.snapshot.context(node)
        source = sources[0] if len(sources) == 1 else None
        if node == server.node or source is None or server.ip is None or source in self.cluster.settings.pod_cidr:
            return None
        rules = context.state.iptables
        packet = Packet(source, server.ip, out_interface=context.underlay.name)
        decided = verdict(rules, "nat", rules.rules("nat", "POSTROUTING"), packet)
        return decided if decided is not None and decided.target == "MASQUERADE" else None

    def _service(self, full_name: str) -> Service:
        service = self.objects.service(full_name)
        if service is None:  # _missing_demo and missing_kinds have looked
            raise LookupError(full_name)
        return service

    def _url(self, pod: Pod, path: str) -> str:
        return f"http://{pod.ip}:{KUARD_PORT}{path}"

    # Pods to pods, nodes and Services ---------------------------------------------------------------------------------

    def _to_pods(self, client: Client) -> Iterator[Probe]:
        for server in self.servers:
            if server == client.pod:
                continue
            same = server.node == client.pod.node
            yield client.probe(
                "pod-to-pod-same-node" if same else "pod-to-pod-other-node",
                to=server.name,
                command=curl(self._url(server, "/whoami")),
                expected=f"{server.name} answers and sees {client.pod.ip} with the client's own port",
                judge=_judge_direct(server, client.pod.ip),
                to_node=server.node,
            )

    def _from_pages(self) -> Iterator[Probe]:
        """From httpd's pods, to kuard on the same node: where a node has one kuard only, nobody else could ask it."""
        for pod in self.objects.labelled("default", "name", "networkpolicy-demo"):
            client = None if self._isolating(pod) else self._client(pod)
            probes = self._to_pods(client) if client else iter(())
            yield from (probe for probe in probes if probe.name == "pod-to-pod-same-node")

    def _to_nodes(self, client: Client) -> Iterator[Probe]:
        for node in self.nodes:
            yield client.probe(
                "pod-to-node",
                to=f"{node.name} {node.address}",
                command=f"ping -n -c 1 -W {patient(REQUEST_SECONDS)} {node.address}",
                expected="an echo reply",
                judge=_judge_ping,
                to_node=node.name,
            )

    def _to_services(self, client: Client) -> Iterator[Probe]:
        service = self._service(KUARD)
        for number in range(REPETITIONS):
            yield client.probe(
                "service-by-address",
                to=f"{service.cluster_ip}, request {number + 1}",
                command=curl(f"http://{service.cluster_ip}:{service.ports[0].port}/whoami"),
                expected=self._expected_of_service(client),
                judge=self._judge_service(client),
            )

    def _expected_of_service(self, client: Client) -> str:
        masked = _shown(self._seen_from(client.pod.node, client.pod.node))
        return f"a pod of kuard answers and sees {client.pod.ip}, or {masked} if it is the client itself"

    def _judge_service(self, client: Client) -> Callable[[Output], str]:
        """Reaching itself by the Service, a pod's packet is masqueraded (KUBE-SEP marks it), or the reply would
        never pass conntrack."""
        masked = self._seen_from(client.pod.node, client.pod.node)
        by_name = {pod.name: pod for pod in self.servers}

        def judge(output: Output) -> str:
            _, who = read_whoami(output)
            server = by_name.get(who.pod)
            if server is None:
                raise FailedError(f"{who.pod} answered, which is no ready pod of kuard")
            expected = masked if server == client.pod else (client.pod.ip,)
            return compared(who.pod_ip == server.ip and who.client in expected, _seen(who))

        return judge

    def _by_names(self, client: Client) -> Iterator[Probe]:
        if client.container is None:
            return
        domain = self.cluster.settings.cluster_domain
        kuard, httpd = self._service(KUARD), self._service(HTTPD)
        full = f"kuard.default.svc.{domain}"
        for name, service in ((full, kuard), ("httpd-svc", httpd), ("kubernetes.default", self._service(KUBERNETES))):
            judge = _judge_name(service.cluster_ip)
            label, command = f"{name} in {client.pod.name}", f"getent ahostsv4 {name}"
            yield self._inside(client, "dns-names", label, command, str(service.cluster_ip), judge)
        label, command = f"{kuard.cluster_ip} in {client.pod.name}", f"getent hosts {kuard.cluster_ip}"
        yield self._inside(client, "dns-reverse", label, command, full, _judge_reverse(full))
        label, command = f"{client.pod.name} to {full}", curl(f"http://{full}:{kuard.ports[0].port}/whoami")
        expected = self._expected_of_service(client)
        yield self._inside(client, "service-by-name", label, command, expected, self._judge_service(client))
        label, command = f"{client.pod.name} to httpd-svc", curl(f"http://httpd-svc:{httpd.ports[0].port}/")
        yield self._inside(client, "service-by-name", label, command, "HTTP status 200 and a page", judge_page)

    def _inside(
        self, client: Client, name: str, label: str, command: str, expected: str, judge: Callable[[Output], str]
    ) -> Probe:
        """In the pod's container, with its resolver."""
        node = client.pod.node
        return Probe(name, node, label, command, expected, judge, client.container, self.tool, NO_DNS_ANSWER)

    # Nodes to pods ----------------------------------------------------------------------------------------------------

    def _from_nodes(self) -> Iterator[Probe]:
        for node in self.nodes:
            for server in self.servers:
                sources = self._seen_from(node.name, server.node)
                rule = self._masquerading(node.name, server, sources)
                port = f"any port, since it is masqueraded ({rule})" if rule else "the client's own port"
                yield Probe(
                    name="node-to-pod",
                    node=node.name,
                    label=f"{node.name} to {server.name}",
                    command=curl(self._url(server, "/whoami")),
                    expected=f"{server.name} answers and sees {_shown(sources)} with {port}",
                    judge=_judge_direct(server, *sources, any_port=rule is not None),
                    to_node=server.node,
                )

    # Across nodes -----------------------------------------------------------------------------------------------------

    def _pairs(self) -> Iterator[tuple[Client, Pod]]:
        """For each node with a demo pod, one client there and one server elsewhere; not both on nodes left out."""
        without = self.snapshot.left_out
        for node in self.nodes:
            client = next((item for item in self.clients if item.pod.node == node.name), None)
            others = (pod for pod in self.servers if pod.node != node.name)
            server = next((pod for pod in others if not {node.name, pod.node} <= without), None)
            if client and server:
                yield client, server

    def _across_nodes(self) -> Iterator[Probe]:
        for client, server in self._pairs():
            label = f"{server.name} to {client.pod.name}"
            yield Probe(
                name="large-transfer",
                node=client.pod.node,
                label=label,
                command=_large_transfer(client, self._url(server, f"/bytes/{LARGE_BYTES}")),
                expected=f"{LARGE_BYTES} bytes, the same as the client's own /bytes gives over loopback",
                judge=_judge_large,
                to_node=server.node,
            )
            yield from self._path_mtu(client, server)
            yield from self._capture(client, server)

    def _path_mtu(self, client: Client, server: Pod) -> Iterator[Probe]:
        try:
            mtu = self.snapshot.context(client.pod.node).pod_mtu
        except UndecidedError:
            return
        fits, too_large = mtu - ICMP_HEADERS, mtu - ICMP_HEADERS + 1
        ping = f"ping -n -c 1 -W {max(1, patient(REQUEST_SECONDS) // 2)}"
        pings = (f"{ping} -M do -s {size} {server.ip}" for size in (fits, too_large))
        commands = [*pings, f"ip -4 route get {server.ip}"]
        yield Probe(
            name="path-mtu",
            node=client.pod.node,
            label=f"{client.pod.name} to {server.name}",
            command="; ".join(f'{in_namespace(client.pid, command)} 2>&1; echo "code $?"' for command in commands),
            expected=f"packets of {mtu} bytes pass, {mtu + 1} bytes are refused as too long",
            judge=_judge_path_mtu(mtu, in_namespace(client.pid, "ip route flush cache")),
            to_node=server.node,
        )

    def _capture(self, client: Client, server: Pod) -> Iterator[Probe]:
        here, there = self.cluster.node(client.pod.node), self.cluster.node(server.node)
        settings = self.cluster.settings
        try:
            context = self.snapshot.context(here.name)
            underlay, ends = context.underlay, (context.underlay_address, context.underlay_address_of(there))
        except UndecidedError:
            return
        if client.pod.ip is None or server.ip is None or not self._is_wrapped:
            return
        nonce = secrets.token_hex(4)
        yield Probe(
            name="packet-on-the-wire",
            node=here.name,
            label=f"{client.pod.name} to {server.name} on {underlay.name}",
            command=capture_command(
                interface=underlay.name,
                port=settings.vxlan_port,
                nodes=ends,
                ping=in_namespace(
                    client.pid, f"ping -n -c 1 -W {patient(REQUEST_SECONDS)} -p {nonce.encode().hex()} {server.ip}"
                ),
                nonce=nonce,
            ),
            expected=(
                f"{ends[0]} > {ends[1]} UDP {settings.vxlan_port} VNI {settings.vxlan_vni} around "
                f"{client.pod.ip} > {server.ip} echo request, and the reply the other way round"
            ),
            judge=judge_capture(
                nonce=nonce.encode(),
                nodes=ends,
                pods=(client.pod.ip, server.ip),
                port=settings.vxlan_port,
                vni=settings.vxlan_vni,
            ),
            to_node=there.name,
        )

    @property
    def _is_wrapped(self) -> bool:
        """Whether packets between any two nodes are in VXLAN."""
        return self.cluster.settings.cni_backend == "vxlan" and not self.cluster.settings.cni_cross_subnet

    # What cannot be run -----------------------------------------------------------------------------------------------

    def gaps(self, probes: tuple[Probe, ...]) -> Iterator[CheckResult]:
        """A row for each probe that no node can run, so that it is not taken for passed."""
        run = {(probe.name, probe.node) for probe in probes}
        workers = {pod.node for pod in self.kuards}
        hidden = {name: policies for name, policies in self.hidden.items() if policies}
        for name, policies in hidden.items():
            yield from (self._for_policies(name, node.name, policies) for node in self.cluster.nodes)
        for name in FROM_PODS:
            if name in hidden:
                continue
            if any(row == name for row, _ in run):
                # Somewhere it runs; say of the nodes with demo pods why it does not there.
                silent = sorted(workers - {node for row, node in run if row == name})
            else:
                silent = sorted(workers)
            for node in silent:
                isolated = self._isolating(*(pod for pod in self.kuards if pod.node == node or name in BETWEEN_NODES))
                if isolated and node in self.snapshot.states:
                    yield self._for_policies(name, node, isolated)
                else:
                    yield CheckResult(node, name, *self._reason(name, node), LOOK_AT_DEMO)

    def _for_policies(self, name: str, node: str, policies: tuple[str, ...]) -> CheckResult:
        reason = f"policies are about pods that the probes need ({', '.join(policies)}); delete them"
        return CheckResult(node, name, Status.NOT_RUN, TITLES[name], reason, LOOK_AT_DEMO)

    def _reason(self, name: str, node: str) -> tuple[Status, str, str]:
        if node not in self.snapshot.states:
            return Status.BROKEN, TITLES[name], f"{node} cannot be reached, its demo pods cannot be asked"
        if not any(client.pod.node == node for client in self.clients):
            return Status.BROKEN, TITLES[name], "no pause container was found for the demo pods here"
        if name == "packet-on-the-wire" and not self._is_wrapped:
            backend = (
                f"{self.cluster.settings.cni_backend}{' within a subnet' * self.cluster.settings.cni_cross_subnet}"
            )
            way = "the routes and the other rows show its way"
            return Status.NOT_RUN, TITLES[name], f"{backend} wraps no packet in VXLAN: {way}"
        if name == "pod-to-pod-same-node":
            return Status.NOT_RUN, TITLES[name], "only one demo pod runs here"
        if len({pod.node for pod in self.servers}) == 1:
            several = len(self.cluster.workers) > 1
            status = Status.BROKEN if several else Status.NOT_RUN
            return status, TITLES[name], "all demo pods are on one node; delete one of them, or add a node"
        return Status.BROKEN, TITLES[name], "the node's own interface or the pod's container was not found"


# Judging ------------------------------------------------------------------------------------------------------------


def _seen(who: Whoami) -> str:
    return f"{who.pod} ({who.pod_ip}) saw {who.client} port {who.client_port}"


def _judge_direct(server: Pod, *sources: IPv4Address | None, any_port: bool = False) -> Callable[[Output], str]:
    """Without NAT the server sees the very address and port that the client's socket has; ``any_port`` with it."""

    def judge(output: Output) -> str:
        answer, who = read_whoami(output)
        right_server = (who.pod, who.node, who.pod_ip) == (server.name, server.node, server.ip)
        unchanged = any_port or (who.client, who.client_port) == (answer.local_address, answer.local_port)
        return compared(right_server and who.client in sources and unchanged, _seen(who))

    return judge


def _shown(addresses: tuple[IPv4Address | None, ...]) -> str:
    return " or ".join(map(str, addresses))


def _judge_ping(output: Output) -> str:
    """iputils: 0 with a reply, 1 without, 2 for an error: of the kernel that refuses to send, or of ping's own."""
    if output.code == 0:
        return "an echo reply"
    if output.code == 1:
        raise FailedError(f"no echo reply within {patient(REQUEST_SECONDS)} s")
    if NOT_SENT.match(output.last_words):
        raise FailedError(f"the packet cannot be sent ({output.last_words})")
    raise UndecidedError(f"ping: exit code {output.code}: {output.last_words}")


def _judge_name(address: IPv4Address | None) -> Callable[[Output], str]:
    """getent(1): 0 with addresses, 2 for a name that cannot be found."""

    def judge(output: Output) -> str:
        if output.code == 2:
            raise FailedError("the name cannot be resolved")
        if output.code != 0:
            raise UndecidedError(f"getent: exit code {output.code}: {output.last_words}")
        found = sorted({line.split()[0] for line in output.out.splitlines() if line.strip()})
        return compared(found == [str(address)], ", ".join(found) or "no address")

    return judge


def _judge_reverse(name: str) -> Callable[[Output], str]:
    def judge(output: Output) -> str:
        if output.code == 2:
            raise FailedError("the address has no name")
        words = output.out.split()
        if output.code != 0 or len(words) < 2:
            raise UndecidedError(f"getent: exit code {output.code}: {output.last_words}")
        return compared(words[1] == name, words[1])

    return judge


def judge_page(output: Output) -> str:
    answer = read_answer(output)
    found = f"HTTP status {answer.status} and {len(answer.body)} characters"
    return compared(answer.status == 200 and bool(answer.body.strip()), found)


def _large_transfer(client: Client, url: str) -> str:
    """Fetch the same bytes from the other node, and from the client's own pod over loopback, for comparison."""

    seconds = patient(LARGE_SECONDS)

    def fetch(address: str) -> str:
        get = f"curl --silent --show-error --noproxy '*' --fail --max-time {seconds} --output \"$f\" '{address}'"
        return f'{in_namespace(client.pid, get)} || exit; stat -c "size %s" "$f"; sha256sum <"$f"'

    own = f"http://127.0.0.1:{KUARD_PORT}/bytes/{LARGE_BYTES}"
    return f"f=$(mktemp) || exit 99; trap 'rm -f \"$f\"' EXIT; {fetch(own)}; echo remote; {fetch(url)}"


def _judge_large(output: Output) -> str:
    own, reached, remote = output.out.partition("remote\n")
    if not reached:
        raise UndecidedError(
            f"the client's own pod did not give {LARGE_BYTES} bytes over loopback: {output.last_words}"
        )
    if output.code != 0:
        raise FailedError(f"no whole answer: {output.last_words}")
    found = re.fullmatch(r"size (\d+)\n(\w{64})  -\n?", remote)
    if not found or not re.fullmatch(rf"size {LARGE_BYTES}\n\w{{64}}  -\n", own):
        raise UndecidedError(f"the output cannot be read: {output.out[:80]!r}")
    same = own.strip() == remote.strip()
    return compared(same, f"{found[1]} bytes, {'the same' if same else 'others than the client has itself'}")


def _judge_path_mtu(mtu: int, remedy: str) -> Callable[[Output], str]:
    """Judge two pings and the pod's route.

    The kernel keeps a path MTU that it was told once for ten minutes (net.ipv4.route.mtu_expires), also when the link
    that was too narrow is wide again: then nothing but that is wrong, and it is told as what it is.
    """

    def judge(output: Output) -> str:
        *texts, rest = re.split(r"^code \d+(?:\n|\Z)", output.out, flags=re.MULTILINE)
        codes = [int(code) for code in re.findall(r"^code (\d+)$", output.out, re.MULTILINE)]
        if len(codes) < 2 or rest.strip() or any(code > 2 for code in codes[:2]):
            raise UndecidedError(f"ping: exit codes {codes}: {output.last_words}")
        first, second, route, *_ = [*texts, ""]
        kept = re.search(r"\bcache\b.* mtu (?:lock )?(\d+)", route)
        expires = re.search(r" expires (\d+)sec", route)
        note, known, passes = "", "", codes[0] == 0
        if not passes and kept and int(kept[1]) < mtu:
            note = f" by a path MTU of {kept[1]} that the pod's kernel has kept of a link that was, or is, narrower"
            note += f", for {expires[1]} s more" if expires else ""
            known = remedy
        refused = "message too long" in second.lower()
        small = "pass" if passes else "are refused as too long" if _is_refusal(first) else "are lost"
        large = "pass too" if codes[1] == 0 else "are refused as too long" if refused else "are lost without a word"
        found = f"packets of {mtu} bytes {small}{note}, {mtu + 1} bytes {large}"
        return compared(passes and codes[1] != 0 and refused, found, known)

    return judge


def _is_refusal(text: str) -> bool:
    """Whether the pod's kernel, or a router on the way, says that a packet is too long."""
    return any(words in text.lower() for words in ("too long", "frag needed"))


def node_port_url(node: Node, port: int) -> str:
    return f"http://{node.address}:{port}/"
