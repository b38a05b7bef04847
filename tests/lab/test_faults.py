"""Faults of every kind under constant traffic: what each costs, how long it takes, and that nothing else changes.

A client asks a Service all the time from a worker that nothing happens to. Its failures are counted from the fault to
the moment when the whole proof holds again.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.terminal.errors import CommandError
from lab.wait import wait_until
from tests.lab import faults, figures, network_state, traffic
from tests.lab.faults import Ground, by_hand
from tests.lab.figures import Figure
from tests.lab.proving import Prover
from tests.lab.remote import forget_attempts

MEND_SECONDS = 5.0
"""What podnet sets, it mends at once when the kernel tells that it is gone; at its files it looks each second."""
SETTLE_SECONDS = 30
TOLERATED = 0.01
"""Share of requests that may fail where nothing on their way is touched: the machine's two cores serve everything."""
LEAST_SHARE = 0.5
"""Of the requests that were to be sent; with fewer the client was not there."""


@dataclass(frozen=True)
class Fault:
    """One fault. ``mended`` is podnet's limit in seconds, None for what is not its; ``proven`` the whole proof's."""

    name: str
    happen: Callable[[Ground], float]
    proven: float
    mended: float | None = None
    harmless: bool = False
    """Whether traffic must go on without it."""


def deleted(name: str, command: Callable[[Ground], str]) -> Fault:
    return Fault(f"{name} deleted", by_hand(command), proven=120, mended=MEND_SECONDS)


FAULTS = (
    deleted("route", lambda lab: f"ip route del {faults.observers_subnet(lab)}"),
    deleted("ARP entry", lambda lab: f"ip neigh del {faults.observers_subnet(lab).partition('/')[0]} dev flannel.1"),
    deleted("FDB entry", lambda lab: f"bridge fdb del {faults.observers_vtep(lab)} dev flannel.1"),
    deleted("FORWARD rule", lambda lab: f"iptables -D FORWARD -d {lab.cluster.settings.pod_cidr} -j ACCEPT"),
    deleted(
        "POSTROUTING rule",
        lambda lab: (
            f"iptables -t nat -D POSTROUTING -s {lab.cluster.settings.pod_cidr} "
            f"-d {lab.cluster.settings.pod_cidr} -j RETURN"
        ),
    ),
    deleted("flannel.1", lambda lab: "ip link del flannel.1"),
    deleted("subnet.env", lambda lab: "rm /run/flannel/subnet.env"),
    Fault("kube-proxy's rule deleted", faults.delete_rule_of_service, proven=120),
    Fault("podnet killed", faults.kill_container("^/usr/bin/python3 -m agents.podnet"), proven=120, harmless=True),
    Fault("kube-proxy killed", faults.kill_container("^/usr/local/bin/kube-proxy"), proven=120, harmless=True),
    Fault("kubelet killed", faults.kill_service("kubelet"), proven=120, harmless=True),
    Fault("container runtime killed", faults.kill_runtime, proven=120),
    Fault("disk full", faults.fill_disk, proven=120),
    Fault("worker cut off", faults.cut_off, proven=120),
    Fault("control plane rebooted", faults.reboot_leader, proven=240, harmless=True),
    Fault("worker rebooted", faults.reboot_worker, proven=240),
)


@pytest.fixture(scope="module")
def ground(inventory: LoadedInventory) -> Iterator[Ground]:
    lab = faults.ground(inventory.cluster)
    with traffic.running(inventory.cluster.settings, lab.observer):
        yield lab


@pytest.fixture(scope="module")
def prover(inventory: LoadedInventory) -> Prover:
    return Prover(inventory)


@pytest.fixture(scope="module")
def record(request: pytest.FixtureRequest) -> Iterator[list[Figure]]:
    """The figures of all faults, shown at the end whatever pytest captures, and kept."""
    made: list[Figure] = []
    yield made
    text = figures.table(made)
    figures.write(text)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\nFaults survived ({figures.FILE}):\n{text}")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_survives(
    fault: Fault, ground: Ground, prover: Prover, record: list[Figure], inventory: LoadedInventory
) -> None:
    settings = inventory.cluster.settings
    before = network_state.read(settings)
    began = time.time()
    counted = fault.happen(ground)
    mended = None if fault.mended is None else _mended(fault, ground, before, counted)
    prover.wait(seconds=fault.proven)
    proven = time.time()
    _wait_for_the_same(before, ground)
    loss = traffic.loss(began, proven)
    forget_attempts()
    record.append(Figure(fault.name, mended, proven - counted, loss))
    print(figures.table(record[-1:]))
    assert loss.requests > LEAST_SHARE * traffic.REQUESTS_PER_SECOND * (proven - began), "the client did not run"
    assert not fault.harmless or loss.share <= TOLERATED, f"{loss.failed} of {loss.requests} failed: {loss.reasons}"


def _mended(fault: Fault, lab: Ground, before: network_state.State, began: float) -> float:
    """Seconds until the victim's network is as before, at most what podnet is given."""
    settings = lab.cluster.settings

    def as_before() -> bool:
        return network_state.of_node(lab.victim, settings) == before[lab.victim]

    limit = fault.mended or 0.0
    # A look takes a moment, too: what counts is the time when it began.
    looked = time.time()
    while not as_before():
        assert looked - began < limit, f"{fault.name}: not mended after {limit:.0f}s: {_changes(before, lab)}"
        looked = time.time()
    return looked - began


def _changes(before: network_state.State, lab: Ground) -> list[str]:
    return network_state.difference(before, network_state.read(lab.cluster.settings))


def _wait_for_the_same(before: network_state.State, lab: Ground) -> None:
    """Nothing else has changed: what is set late, such as kube-proxy's rules, gets a moment."""
    found: list[str] = []

    def same() -> bool:
        found[:] = _changes(before, lab)
        return not found

    try:
        wait_until(same, seconds=SETTLE_SECONDS, what="the network of all nodes to be as before")
    except CommandError as error:
        pytest.fail("\n".join([str(error), *found[:20]]))
