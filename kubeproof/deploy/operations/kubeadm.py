"""kubeadm init, join and reset: begun with a marker, so that one that was interrupted is seen and made good."""

import re
from collections.abc import Generator, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.access.deadlines import KUBEADM_SECONDS
from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.patience import patient
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import Runtime
from kubeproof.deploy import sudo_passwords
from kubeproof.deploy.facts.kubernetes import ApiHealthy, ControlPlaneState, MembershipState
from kubeproof.deploy.operations.remote import (
    NodeError,
    fail,
    failure,
    on_host,
    read_only,
    run,
    shell,
    try_run,
    wait_until,
    write_private,
)
from kubeproof.deploy.run_events import because
from kubeproof.networks import artifacts
from kubeproof.node.joining import Credentials, credentials
from kubeproof.node.kubeadm_config import init_command, join_config, reset_command
from kubeproof.state.hostfiles import SUBNET_ENV
from kubeproof.terminal.errors import UserError

API_SECONDS = 240
"""kubeadm's own patience for a control plane (DefaultControlPlaneTimeout)."""
KUBECTL = ("kubectl", "--kubeconfig", paths.ADMIN_CONF)
KUBEADM_TOKEN = ("kubeadm", "token")


@operation()
def init(cluster: Cluster) -> Generator[PyinfraCommand, None, None]:
    """Make this host the control plane, from the configuration file that the deploy has placed.

    An init that the deploy began and did not see end is taken back and begun again, unless it turns out finished.
    A control plane without that marker is never taken back, whatever its state: it may hold a cluster's data.
    """
    state = host.get_fact(ControlPlaneState)
    if state.interrupted or not state.configured:
        because(
            "an init was interrupted" if state.interrupted else f"there is no {paths.ADMIN_CONF}: no control plane yet"
        )
        yield on_host(_init, cluster)
    elif not state.healthy:
        yield from read_only(host, _wait_for_own_api, cluster)
    else:
        host.noop("the control plane is initialised and healthy")


def _init(host: Host, cluster: Cluster) -> None:
    # An init may still be running here, left by a deploy that was interrupted: this waits for its lock.
    run(host, ["true"], exclusive=True)
    state = host.get_fact(ControlPlaneState)
    if not (state.healthy and state.finished):
        if state.interrupted:
            leave_cluster(host, cluster.settings)
        run(host, ["touch", paths.INIT_MARKER])
        _run_kubeadm(host, init_command(cluster, paths.INIT_CONFIG), cluster, paths.INIT_MARKER)
    # The token that kubeadm made: workers get one each, for the time of their join.
    tokens = ("delete", "secrets", "--namespace", "kube-system")
    run(host, [*KUBECTL, *tokens, "--field-selector", "type=bootstrap.kubernetes.io/token"])
    run(host, ["rm", "-f", paths.INIT_MARKER])


def _run_kubeadm(host: Host, command: Sequence[str], cluster: Cluster, marker: str) -> None:
    """kubeadm only waits for what kubelet and the runtime do: if it fails, what those said is the reason."""
    done, output = try_run(host, command, exclusive=True, seconds=KUBEADM_SECONDS)
    if not done:
        said = of(host, cluster.settings.runtime, marker)
        raise failure(host, command, without_advice(output) if said else output, said)


def _wait_for_own_api(host: Host, cluster: Cluster) -> None:
    look = f"see `{cluster.settings.runtime.look}` and `journalctl -u kubelet` there"

    def problem() -> str:
        return "" if host.get_fact(ControlPlaneState).healthy else f"the API server is not healthy; {look}"

    wait_until(host, problem, patient(API_SECONDS))


@operation()
def wait_for_api(cluster: Cluster, leader: Host) -> Generator[PyinfraCommand, None, None]:
    if host.get_fact(ApiHealthy, url=cluster.api_url):
        host.noop("the API server answers")
        return
    yield from read_only(host, _wait_for_api, cluster, leader)


def _wait_for_api(host: Host, cluster: Cluster, leader: Host) -> None:
    url = cluster.api_url

    def problem() -> str:
        _require(leader)
        return "" if host.get_fact(ApiHealthy, url=url) else f"the API server at {url} cannot be reached from here"

    wait_until(host, problem, patient(API_SECONDS))


def _require(leader: Host) -> None:
    if leader in leader.state.failed_hosts:
        raise NodeError(f"needs the control plane host {leader.name}, which failed; see its error above")
    leader.connect(show_errors=False, raise_exceptions=True)
    try:
        sudo_passwords.settle([leader])
    except UserError as error:
        raise NodeError("; ".join(error.problems)) from None


@operation()
def join(cluster: Cluster, node: Node, leader: Host) -> Generator[PyinfraCommand, None, None]:
    """Make this host a worker of the cluster that ``leader`` is the control plane of.

    A token of few minutes is made for this host alone, handed over in a file that only root can read, and revoked
    afterwards. A join that was interrupted is taken back and begun again.
    """
    state = host.get_fact(MembershipState)
    if not state.joined or state.interrupted:
        because("a join was interrupted" if state.interrupted else f"there is no {paths.KUBELET_CONF}: not a node yet")
        yield on_host(_join, cluster, node, leader)
    elif leader not in leader.state.failed_hosts and _ca_hash(leader) not in ("", state.ca_hash):
        because("apply will fail here: the host belongs to another cluster, reset it first")
        yield on_host(fail, "belongs to another cluster than the one of its control plane host: reset it first")
    else:
        host.noop("the node has joined")


def _ca_hash(leader: Host) -> str:
    return leader.get_fact(MembershipState).ca_hash if leader.connected else ""


def _join(host: Host, cluster: Cluster, node: Node, leader: Host) -> None:
    _require(leader)
    run(host, ["true"], exclusive=True)
    if host.get_fact(MembershipState).interrupted:
        leave_cluster(host, cluster.settings)
        # It may have come as far as to be Ready there, and kubeadm joins no node of a name that is.
        run(leader, [*KUBECTL, "delete", "node", node.name, "--ignore-not-found"])
    forget_network(host)
    made = _make_token(leader, cluster, node)
    try:
        write_private(host, paths.JOIN_CONFIG, join_config(cluster, node, made))
        run(host, ["touch", paths.JOIN_MARKER])
        _run_kubeadm(host, ["kubeadm", "join", "--config", paths.JOIN_CONFIG], cluster, paths.JOIN_MARKER)
        run(host, ["rm", "-f", paths.JOIN_MARKER])
    finally:
        try_run(host, ["rm", "-f", paths.JOIN_CONFIG])
        try_run(leader, [*KUBEADM_TOKEN, "delete", made.token_id])


def _make_token(leader: Host, cluster: Cluster, node: Node) -> Credentials:
    ttl = f"{cluster.settings.join_token_ttl_minutes}m0s"
    described = ("--description", f"kubeproof: join of {node.name}")
    made = credentials(run(leader, [*KUBEADM_TOKEN, "create", "--ttl", ttl, *described, "--print-join-command"]))
    if made is None:
        raise NodeError(f"kubeadm on {leader.name} made no token that can be read; try `kubeadm token create` there")
    return made


SECONDS = 20
"""How long the journal may take to answer."""
LONGEST = 500
"""Characters of a line that are shown."""
NOISE = (
    r"connection refused|node .* not found|no such host|node lease|ensure lease exists|TLS handshake timeout|"
    r"Unable to (register|write event)|cni config uninitialized|No networks found"
)
"""What kubelet says as long as there is no API server or pod network, whatever the reason."""
SCRIPT = Path(__file__).with_name("last_errors.sh").read_text()
_ADVICE = re.compile(
    r"^\s*(Unfortunately, an error has occurred|This error is likely caused|(Additionally, a|A) control plane)"
)
"""How kubeadm's general advice begins (cmd/kubeadm/app/cmd/phases, kubeletFailMsg and its like)."""
_END_OF_ADVICE = re.compile(r"^(error |\[)")


def of(host: Host, runtime: Runtime, marker: str) -> list[str]:
    """A line for each program that has failed since the file ``marker`` was written; empty if none has, or tells."""
    units = ["kubelet.service", runtime.service, *(["cri-docker.service"] if runtime.cri_dockerd else [])]
    asked = dict.fromkeys((*units, "containerd.service"))
    _, output = try_run(host, ["sh", "-c", SCRIPT, "sh", marker, str(SECONDS), NOISE, *asked])
    return [line.strip()[:LONGEST] for line in output.splitlines() if line.strip()]


def without_advice(output: str) -> str:
    """What kubeadm wrote, without what it advises whatever the reason. Pure."""
    kept: list[str] = []
    advising = False
    for line in output.splitlines():
        advising = (advising or bool(_ADVICE.match(line))) and not _END_OF_ADVICE.match(line)
        if not advising and line.strip():
            kept.append(line)
    return "\n".join(kept)


ETCD_DATA = "/var/lib/etcd/member"
"""kubeadm finds it by etcd's manifest, and leaves it if an earlier reset has removed that; the next init refuses it."""
KUBELET_DATA = "/var/lib/kubelet"
"""kubeadm deletes what is in it, below mounts too if it could not unmount them, of which it only warns."""
UNMOUNT_BELOW = Path(__file__).with_name("unmount_below.sh").read_text()
REMOVE_CONTROL_GROUPS = "find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null"
"""kubelet makes them below kubepods or kubepods.slice; after it and its pods nobody takes them away. One with a process
in it stays."""
FORGET_NETWORK = Path(__file__).with_name("forget_network.sh").read_text()
"""A node that comes back has pods of its name at once, before its network's agent: kubelet would plug them in with the
configuration of its earlier subnet."""
MARKERS = (paths.INIT_MARKER, paths.JOIN_MARKER, paths.JOIN_CONFIG)


def leave_cluster(host: Host, settings: Settings) -> None:
    """Undo what `kubeadm init` or `join` did, finished or not. The host can join again."""
    # Before kubeadm does: it stops one container after the other, with up to ten seconds for each.
    try_run(host, ["systemctl", "stop", "kubelet.service"])
    try_run(host, shell(settings.runtime.remove_pods))
    unmount_below(host, KUBELET_DATA)
    if try_run(host, shell("command -v kubeadm"))[0]:
        run(host, reset_command(settings), exclusive=True, seconds=KUBEADM_SECONDS)
    try_run(host, shell(REMOVE_CONTROL_GROUPS))
    run(host, ["rm", "-rf", "--one-file-system", ETCD_DATA, *MARKERS])


def forget_network(host: Host) -> None:
    """Remove the pod network's configuration and links from a host that is no node (any more) and runs no pods."""
    run(host, [*shell(FORGET_NETWORK), "sh", *artifacts.CONFIGURATION_FILES, SUBNET_ENV, "--", *artifacts.LINKS])


def unmount_below(host: Host, *directories: str) -> None:
    """Unmount everything below directories that are to be emptied: volumes are not the directories' own."""
    done, output = try_run(host, [*shell(UNMOUNT_BELOW), "sh", *directories])
    if not done:
        said = " ".join(output.split())
        raise NodeError(f"what is mounted stays mounted ({said}): unmount it yourself and reset again")
