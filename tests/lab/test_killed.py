"""A deploy that is stopped anywhere is completed by the next one: killed in every phase, a node lost, SSH cut.

One deploy, from hosts without a cluster, is interrupted again and again and goes on each time.
"""

import ast
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import nodes, shell
from lab.paths import REPOSITORY
from lab.settings import load
from tests.lab.commands import changes, inv, succeed
from tests.lab.interrupting import PREPARING, Running, wait_for_process

pytestmark = pytest.mark.usefixtures("bare_hosts")

CUT = "kubeproof_cut"
"""nft table in a node that cuts it off this machine, and from nothing else."""

MIDDLE = {
    "packages.install": ("Install", " --unpack "),
    "images.pull": ("Pull images", "docker pull"),
    "control_plane.initialise": ("Initialise", "kube-apiserver"),
    "workers.join": ("Join", "kubeadm join"),
}
"""Operations that take long, with a program that runs on a node only while they do; elsewhere the first one will do."""


def phases() -> dict[str, str]:
    """Titles of the deploy's phases by module and function, in their order, read from the code."""
    called = [
        (node.lineno, node.func.value.id, node.func.attr)
        for node in ast.walk(ast.parse((REPOSITORY / "deploy.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    ]
    return {f"{module}.{function}": _title(module, function) for _, module, function in sorted(called)}


def _title(module: str, function: str) -> str:
    """What @deploy says."""
    tree = ast.parse((REPOSITORY / "kubeproof" / "deploy" / "phases" / f"{module}.py").read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    (decorator,) = (item for item in found.decorator_list if isinstance(item, ast.Call))
    return str(ast.literal_eval(decorator.args[0]))


IDLE = "network_setup.require_plugins"
"""Has no operations with podnet, which brings its plugins along by a package."""
PHASES = {phase: title for phase, title in phases().items() if phase != IDLE}
NAMES = list(PHASES)
INIT, JOIN = (NAMES.index(name) for name in ("control_plane.initialise", "workers.join"))


def kill_in(phase: str) -> None:
    """Start an apply and kill it while the phase's operations run."""
    title = PHASES[phase]
    with Running("apply") as running:
        if phase == NAMES[0]:
            # Preflight asks before there is any operation.
            running.until(PREPARING)
        else:
            running.until_phase(title, [name for name in NAMES if PHASES[name] == title].index(phase))
        if phase in MIDDLE:
            operation, program = MIDDLE[phase]
            running.until_operation(operation)
            wait_for_process(program, *(node.name for node in load().nodes))
        running.signal(signal.SIGKILL)
        outcome = running.finish()
        assert outcome.code == -signal.SIGKILL
        # What was interrupted before has been made good on the way here.
        assert "Error: executed" not in outcome.output


def test_every_phase_is_known() -> None:
    assert set(MIDDLE) <= set(NAMES)
    assert IDLE in phases()
    assert NAMES[0] == "preflight.check"
    assert 0 < INIT < JOIN < len(NAMES) - 1


@pytest.mark.parametrize("phase", NAMES[: INIT + 1])
def test_killed_before_there_is_a_cluster(phase: str) -> None:
    kill_in(phase)


def test_a_lost_node_stops_no_other() -> None:
    name = load().nodes[-1].name
    with Running("apply") as running:
        running.until_operation("Initialise the control plane")
        nodes.stop(load(), name)
        outcome = running.finish()
    assert outcome.code == 1
    assert re.search(rf"error: failed on {name} ", outcome.output)
    assert "Traceback" not in outcome.output
    # The other worker has joined, and the cluster is complete but for the one.
    assert "Wait for the demo" in outcome.output
    succeed("lab.start", name)


@pytest.mark.parametrize("phase", NAMES[INIT + 1 : JOIN + 1])
def test_killed_while_the_cluster_is_made(phase: str) -> None:
    kill_in(phase)


@contextmanager
def cut_off(name: str) -> Iterator[None]:
    """No packet passes between this machine and a node; the node's way to the others is free."""
    gateway, inside = load().gateway, ["nsenter", f"--target={nodes.init_pid(name)}", "--net", "nft"]
    rules = f"""table ip {CUT} {{
        chain input {{ type filter hook input priority -300; ip saddr {gateway} drop; }}
        chain output {{ type filter hook output priority -300; ip daddr {gateway} drop; }}
    }}"""
    shell.run([*inside, "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        shell.run([*inside, "delete", "table", "ip", CUT])


def test_a_cut_connection_ends_within_seconds_and_stops_no_other() -> None:
    name = load().nodes[-1].name
    with Running("apply", patience=300) as running:
        running.until_operation("Join the cluster")
        wait_for_process("kubeadm join", name)
        with cut_off(name):
            outcome = running.finish()
    assert outcome.code == 1
    assert re.search(rf"\[{name}\] .*connection was lost; .* run this again to go on", outcome.output)
    assert re.search(rf"error: failed on {name} ", outcome.output)
    assert "Traceback" not in outcome.output
    assert "Wait for the demo" in outcome.output


@pytest.mark.parametrize("phase", NAMES[JOIN + 1 :])
def test_killed_when_all_have_joined(phase: str) -> None:
    kill_in(phase)


def test_one_apply_completes_it() -> None:
    succeed("apply")
    assert changes(succeed("plan")) == 0
    assert inv("verify").code == 0
