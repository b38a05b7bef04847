"""What the doctor asks beside the proof, in the same round trip, and how the answers become evidence. Pure."""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.patience import patient
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.doctor.evidence import ControlPlane, Token
from kubeproof.node.parts import parts
from kubeproof.rules.api import ASK
from kubeproof.state import paths_between
from kubeproof.state.collector import Output
from kubeproof.state.containers import TOOLS
from kubeproof.state.hostfiles import ipv4_of, parse_values
from kubeproof.state.jsontext import Item, read
from kubeproof.state.part import Asker, Part, answers_of

SSH_PORT = 22
WAIT_SECONDS = 4
"""How long an answer is waited for. Nodes begin within a second or two of each other, and a ping that is not answered
is sent again each second: so the other node's capture has begun for one of them."""
_MANIFEST = f"{paths.KUBERNETES}/manifests/kube-controller-manager.yaml"
_TOKENS = (
    "-n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o jsonpath="
    """'{range .items[*]}{.data.token-id} {.data.expiration}{"\\n"}{end}'"""
)
"""Only what is no secret: the first half of a token names it."""
_EVENTS = (
    "get events -A --field-selector type=Warning --sort-by=.lastTimestamp -o jsonpath="
    """'{range .items[*]}{.involvedObject.namespace}/{.involvedObject.name}={.reason}: {.message}{"\\n"}{end}'"""
)
_WORKLOADS = (
    "get deployments,daemonsets -A -o jsonpath='{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}="
    """{.spec.replicas}{.status.desiredNumberScheduled}{"\\n"}{end}'"""
)
_DAEMON_SETS = "get daemonsets -A -o json"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation with the object as `kubectl apply` was last given it."""


def parts_of(loaded: LoadedInventory, name: str, *, nonce: str) -> tuple[Part, ...]:
    """What a node is asked: all that the proof asks, more of the same, and to send packets to the others."""
    settings = loaded.cluster.settings
    packets = paths_between.command(
        others={
            other.address: loaded.ssh[other.name].port or SSH_PORT
            for other in loaded.cluster.nodes
            if other.name != name
        },
        device=settings.vxlan_device,
        port=settings.vxlan_port,
        own_port=next((item.port for item in settings.backend.carriers if item.protocol == "tcp"), None),
        nonce=nonce,
        seconds=patient(WAIT_SECONDS),
    )
    return (
        *parts(Asker.PROOF | Asker.DOCTOR, TOOLS[settings.container_runtime]),
        Part("path_probes", packets, lambda text: paths_between.parse(text, nonce=nonce), Asker.DOCTOR),
    )


def of_control_plane(settings: Settings) -> tuple[Part, ...]:
    """Fields of :class:`ControlPlane`, asked on the control plane host."""
    agent = settings.network.agent
    told = f"{ASK} {agent.pod_cidr_query}"
    return (
        Part("tokens", f"{ASK} {_TOKENS}", _tokens, Asker.DOCTOR),
        # grep ends with 1 where there is no such flag, which is what is asked.
        Part(
            "controller_flags",
            f"grep -oE -e '--(cluster-cidr|allocate-node-cidrs)=[^ ]*' {_MANIFEST} || [ $? -eq 1 ]",
            _flags,
            Asker.DOCTOR,
        ),
        Part("network_cidrs", told, lambda text: _all(agent.pod_cidr_pattern, text), Asker.DOCTOR),
        Part("network_policy", told, lambda text: "".join(_all(r"^NETWORK_POLICY=(\S+)$", text)[:1]), Asker.DOCTOR),
        Part("events", f"{ASK} {_EVENTS}", parse_values, Asker.DOCTOR),
        Part("workloads", f"{ASK} {_WORKLOADS}", _counts, Asker.DOCTOR),
        Part("added_selectors", f"{ASK} {_DAEMON_SETS}", _added_selectors, Asker.DOCTOR),
    )


def control_plane_of(settings: Settings, outputs: Mapping[str, Output]) -> ControlPlane:
    answers = answers_of(of_control_plane(settings), outputs)
    return ControlPlane(**answers.found, unreadable=answers.unreadable)


def _all(pattern: str, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.findall(pattern, text, re.MULTILINE)))


def _flags(text: str) -> dict[str, str]:
    flags = (flag.removeprefix("--").partition("=") for flag in text.split())
    return {name: ipv4_of(value) for name, _, value in flags}


def _counts(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in parse_values(text).items() if count.isdecimal()}


def _added_selectors(text: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for item in Item(_DAEMON_SETS, "top", read(_DAEMON_SETS, text)).items("items"):
        metadata = item.item("metadata")
        if applied := metadata.mapping("annotations").get(_LAST_APPLIED):
            own = _node_selector(Item(_DAEMON_SETS, _LAST_APPLIED, read(_DAEMON_SETS, applied)))
            name = f"{metadata.text('namespace')}/{metadata.text('name')}"
            found[name] = tuple(key for key in _node_selector(item) if key not in own)
    return found


def _node_selector(item: Item) -> dict[str, str]:
    return item.item("spec").item("template").item("spec").mapping("nodeSelector")


def _tokens(text: str) -> tuple[Token, ...]:
    """Lines of id and expiration, each in base64 as a Secret holds it."""
    found = []
    for line in text.splitlines():
        name, _, expires = line.strip().partition(" ")
        if name:
            moment = base64.b64decode(expires, validate=True).decode()
            found.append(Token(base64.b64decode(name, validate=True).decode(), _moment(moment) if moment else None))
    return tuple(found)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
