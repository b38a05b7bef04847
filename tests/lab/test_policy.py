"""NetworkPolicy on the live lab: in force at once, everywhere and for every new pod, also when no agent runs."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import pytest
import yaml

from kubeproof.config.cluster import LoadedInventory
from kubeproof.terminal.errors import EXIT_OK
from kubeproof.trace import collecting, world
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.model import End, Prediction
from kubeproof.walkthrough import attempting, playing
from kubeproof.walkthrough.attempt import Attempt, FromHere, InPod, Outcome, Result
from kubeproof.walkthrough.playing import LAST_STEP, POLICY
from lab.paths import SSH_CONFIG
from lab.settings import load
from lab.wait import wait_until
from tests.lab.agents import no_agents
from tests.lab.commands import inv, succeed
from tests.lab.remote import kubectl, kubectl_process, python_in_pod, ssh
from tests.lab.tracing import predicted

pytestmark = pytest.mark.usefixtures("running_lab")

NAMESPACE = "policy-test"
IN_FORCE_SECONDS = 1.0
"""What a change may take from the API to the rules of every node."""
DENY_ALL: dict[str, object] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all", "namespace": NAMESPACE},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}
NEW_PODS = 4
WATCHED_ADDRESSES = 24
"""host-local hands addresses out one after the other, so the next pods get some of these."""


def _worker() -> str:
    return load().nodes[1].name


def _apply(*objects: dict[str, object]) -> None:
    kubectl("apply -f -", stdin=yaml.safe_dump_all(objects))


def _pod(name: str, node: str) -> dict[str, object]:
    """A pod of kuard, which serves on 8080."""
    image = kubectl("get deployment kuard -o jsonpath='{.spec.template.spec.containers[0].image}'")
    env = [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for key, path in (
            ("POD_NAME", "metadata.name"),
            ("NODE_NAME", "spec.nodeName"),
            ("POD_IP", "status.podIP"),
        )
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "policy-test"}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "kuard", "image": image, "env": env}],
        },
    }


def _start(*names: str) -> dict[str, str]:
    """Start pods on the first worker; their addresses by name."""
    _apply(*(_pod(name, _worker()) for name in names))
    words = " ".join(f"pod/{name}" for name in names)
    kubectl(f"-n {NAMESPACE} wait --for=condition=Ready --timeout=60s {words}")
    line = "{range .items[*]}{.metadata.name} {.status.podIP}{'\\n'}{end}"
    rows = kubectl(f'-n {NAMESPACE} get pods -o jsonpath="{line}"')
    return dict(row.split() for row in rows.splitlines() if row)


def _client(node: str) -> str:
    """A kuard of the demo on a node, which policies of this namespace are not about."""
    rows = kubectl(
        "get pods -l app=kuard -o jsonpath=\"{range .items[*]}{.metadata.name} {.spec.nodeName}{'\\n'}{end}\""
    )
    return next(name for name, where in (row.split() for row in rows.splitlines()) if where == node)


def _reaches(client: str, address: str, seconds: int = 2) -> bool:
    code = kubectl(f"exec {client} -- curl -s -o /dev/null -m {seconds} http://{address}:8080/whoami; echo $?")
    assert code.splitlines()[-1] in ("0", "28"), code
    return code.splitlines()[-1] == "0"


@pytest.fixture(scope="module")
def one_namespace() -> Iterator[None]:
    """Its end takes longer than that of what is in it."""
    _apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield
    kubectl(f"delete namespace {NAMESPACE} --wait=true --timeout=180s")


@pytest.fixture
def namespace(one_namespace: None) -> Iterator[None]:
    yield
    kubectl(f"-n {NAMESPACE} delete networkpolicies --all")
    kubectl(f"-n {NAMESPACE} delete pods --all --grace-period=0 --force")


def test_the_walk_through_comes_out_as_it_says_and_leaves_nothing(
    inventory: LoadedInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in each of its steps a trace predicts what comes of each attempt, and names the policy that blocks it."""
    make, untrue, steps = attempting.make, list[str](), list[int]()

    def traced(loaded: LoadedInventory, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Result, float]]:
        results = make(loaded, attempts)
        now = world.make(collecting.collect(loaded))
        untrue.extend(told for attempt in attempts if (told := _untrue(attempt, predicted(now, _asked(attempt)))))
        steps.append(len(attempts))
        return results

    monkeypatch.setattr(attempting, "make", traced)
    assert playing.play(inventory) == EXIT_OK, "an attempt did not come out as it has to"
    assert untrue == []
    assert len(steps) == LAST_STEP + 1
    assert kubectl("get networkpolicies -A -o name") == ""
    assert kubectl("get pods,services,endpoints -l app.kubernetes.io/part-of=kubeproof-walkthrough -o name") == ""


def _asked(attempt: Attempt) -> Asked:
    """The question that its command is."""
    way = attempt.way
    words = ("curl", way.url) if isinstance(way, FromHere) else way.words
    source = "outside" if isinstance(way, FromHere) else f"default/{way.pod}" if isinstance(way, InPod) else way.node
    if words[0] == "ping":
        return Asked(source, words[-1], "", "icmp")
    url = urlsplit(words[-1])
    return Asked(source, url.hostname or "", str(url.port or 80))


def _untrue(attempt: Attempt, prediction: Prediction) -> str:
    """What a prediction says otherwise than the attempt came out; "" for nothing."""
    ends = [walk.outcome for walk in prediction.walks]
    is_blocked = all(end.end is End.DROPPED and end.owner == "podnet" and POLICY in end.reason for end in ends)
    right = prediction.succeeds if attempt.outcome is Outcome.OPEN else is_blocked
    return "" if right else f"{attempt.who}: {attempt.outcome.value}, predicted {ends}"


def test_a_step_can_be_kept_and_taken_away() -> None:
    succeed("policy", "--step", "1", "--keep")
    assert kubectl("get networkpolicies -o name") == "networkpolicy.networking.k8s.io/access-httpd"
    succeed("policy", "--step", "0")
    assert kubectl("get networkpolicies -A -o name") == ""


def test_the_walk_through_refuses_what_would_falsify_it() -> None:
    _apply({**DENY_ALL, "metadata": {"name": "deny-all", "namespace": "default"}})
    try:
        outcome = inv("policy")
    finally:
        kubectl("delete networkpolicy deny-all")
    assert outcome.code == 2
    assert "deny-all" in outcome.output


@pytest.mark.usefixtures("namespace")
def test_a_policy_is_in_force_within_a_second_and_cuts_what_was_open() -> None:
    address = _start("server")["server"]
    client = _client(load().nodes[2].name)
    assert _reaches(client, address)
    curl = "curl -sS -o /dev/null --limit-rate 1M --speed-limit 1000 --speed-time 3 -w '%{size_download}'"
    words = f"exec {client} -- {curl} http://{address}:8080/bytes/{60 * 1024 * 1024}"
    with kubectl_process(words) as transfer:
        wait_until(
            lambda: "8080" in ssh(_worker(), f"conntrack -L -s {address} 2>/dev/null; conntrack -L -d {address}"),
            seconds=20,
            what="the transfer to begin",
        )
        for node, seconds in _seconds_until_in_force(DENY_ALL).items():
            print(f"in force on {node} {seconds:.2f}s after the API server had it")
            assert seconds <= IN_FORCE_SECONDS, node
        output, _ = transfer.communicate(timeout=60)
        assert "Operation too slow" in output, output
    assert not _reaches(client, address)
    kubectl(f"-n {NAMESPACE} delete networkpolicy deny-all")
    wait_until(lambda: _reaches(client, address), seconds=10, what="the pod to be open again")


def _seconds_until_in_force(policy: dict[str, object]) -> dict[str, float]:
    """Apply a policy; for each node the seconds from the API server's answer on. All clocks are the machine's."""
    wait = "until grep -q policy-test/deny-all /run/podnet/policies.json; do sleep 0.02; done; date +%s.%N"
    watches = {
        node.name: subprocess.Popen(
            ["ssh", "-F", SSH_CONFIG, node.name, f"echo watching; timeout 20 sh -c '{wait}'"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in load().nodes
    }
    for watch in watches.values():
        assert watch.stdout
        assert watch.stdout.readline() == "watching\n"
    _apply(policy)
    answered = time.time()
    found = {node: watch.communicate(timeout=30)[0] for node, watch in watches.items()}
    return {node: float(output or "inf") - answered for node, output in found.items()}


WATCH = """
import select, socket, sys, time
addresses, port, reached = sys.argv[1].split(","), 8080, set()
print("watching", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    poller, sockets = select.poll(), {}
    for address in addresses:
        s = socket.socket(); s.setblocking(False)
        s.connect_ex((address, port)); sockets[s.fileno()] = (s, address); poller.register(s, select.POLLOUT)
    until = time.monotonic() + 0.15
    while (left := until - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            s, address = sockets[fd]
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                reached.add(address)
            poller.unregister(fd)
    for s, _ in sockets.values():
        s.close()
print("reached:", *sorted(reached))
"""
"""Tries every address again and again, several times a second, and tells at the end which ever answered."""
WATCHED_SECONDS = 3
"""After the pods are ready: the rules for them are in force by then."""


def _reached_while_starting(client: str, names: list[str]) -> set[str]:
    """Which of the addresses that new pods get were reached by a client while the pods started."""
    last = int(_start("first")["first"].rpartition(".")[2])
    subnet = kubectl(f"get node {_worker()} -o jsonpath='{{.spec.podCIDR}}'").rpartition(".")[0]
    addresses = [f"{subnet}.{2 + (last - 2 + ahead) % 253}" for ahead in range(1, WATCHED_ADDRESSES)]
    with python_in_pod(client, WATCH, ",".join(addresses)) as watch:
        assert watch.stdout
        assert watch.stdout.readline() == "watching\n"
        own = set(_start(*names).values())
        time.sleep(WATCHED_SECONDS)
        output, _ = watch.communicate(timeout=60)
    assert watch.returncode == 0, output
    assert own & set(addresses), f"the new pods have {own}, watched were {addresses}"
    return set(output.split()[1:]) & own


@pytest.mark.usefixtures("namespace")
def test_a_new_pod_of_an_isolated_group_is_never_reached() -> None:
    client = _client(_worker())
    assert _reached_while_starting(client, [f"open-{number}" for number in range(NEW_PODS)]), "the watch sees nothing"
    kubectl(f"-n {NAMESPACE} delete pods --all --grace-period=0 --force")
    _apply(DENY_ALL)
    assert _reached_while_starting(client, [f"closed-{number}" for number in range(NEW_PODS)]) == set()


@pytest.mark.usefixtures("namespace")
def test_without_agents_the_rules_stay_and_new_pods_stay_closed() -> None:
    _apply(DENY_ALL)
    client = _client(_worker())
    address = _start("server")["server"]
    assert not _reaches(client, address)
    with no_agents():
        assert not _reaches(client, address)
        assert not _reaches(client, _start("late")["late"])
    kubectl(f"-n {NAMESPACE} delete networkpolicy deny-all")
    wait_until(lambda: _reaches(client, address), seconds=10, what="the pod to be open again")


@pytest.mark.usefixtures("namespace")
def test_rules_deleted_by_hand_come_back() -> None:
    _apply(DENY_ALL)
    client = _client(_worker())
    address = _start("server")["server"]
    assert not _reaches(client, address)
    ssh(_worker(), "nft delete table inet podnet")
    wait_until(lambda: not _reaches(client, address), seconds=10, what="the policy to be in force again")
    assert inv("verify").code == 0


def test_after_a_boot_no_pod_starts_before_policies_are_in_force() -> None:
    """podnet's CNI configuration, without which kubelet starts no pod, is of this boot and not older than the rules."""
    succeed("lab.reboot", _worker())
    wait_until(lambda: inv("verify").code == 0, seconds=180, what="the proof to hold after the reboot")
    booted = int(ssh(_worker(), 'date -d "$(systemctl show --property=UserspaceTimestamp --value)" +%s'))
    assert int(ssh(_worker(), "stat -c %Y /etc/cni/net.d/10-podnet.conflist")) >= booted
