"""The commands, in a state that was collected: what they print, and their exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.state.collector import Output
from kubeproof.terminal.errors import UserError
from kubeproof.trace import collecting, running
from kubeproof.trace.collecting import Collected
from kubeproof.trace.endpoints import Asked
from tests.unit.trace.lab import FAR, KUARD, NODE1, changed, healthy, predicted, without_lines


def no_inventory() -> LoadedInventory:
    raise AssertionError("a collected state needs no inventory")


def run(folder: Path, state: Collected, asked: Asked, *, as_json: bool = False) -> int:
    collecting.write(state, folder)
    return running.trace(no_inventory, asked, folder=folder, as_json=as_json)


def test_exit_codes_tell_whether_it_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, healthy(), Asked(KUARD, FAR, "80"), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["succeeds"]
    broken = changed(healthy(), NODE1, "iptables", without_lines("-A FORWARD", "10.244.0.0/16"))
    assert run(tmp_path, broken, Asked(KUARD, FAR, "80")) == 1
    assert "where it ends" in capsys.readouterr().out


def test_what_a_node_could_not_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = {**healthy().outputs[NODE1], "namespaces": Output(1, "", "nsenter: killed")}
    state = replace(healthy(), outputs={**healthy().outputs, NODE1: node})
    assert run(tmp_path, state, Asked(KUARD, FAR, "80"), as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["notes"] == ["not collected: k8s-node1: namespaces: nsenter: killed"]
    reason = f"no network namespace with the address of {KUARD} was found on k8s-node1 (nsenter: killed)"
    assert told["ways"][0]["there"]["reason"] == reason


def test_without_the_api_nothing_is_guessed(tmp_path: Path) -> None:
    state = Collected(healthy().facts, healthy().outputs, {}, "kubectl: refused")
    with pytest.raises(UserError, match="the API could not be read: kubectl: refused"):
        run(tmp_path, state, Asked(KUARD, FAR, "80"))


def test_a_name_outside_is_looked_up_by_nobody_offline(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"TO: there is no pod default/localhost\.localdomain"):
        run(tmp_path, healthy(), Asked(KUARD, "localhost.localdomain", "80"))


def test_session_affinity_is_told_and_a_new_client_is_followed() -> None:
    chain = "KUBE-SVC-B5DDMZ32OU72YLCD"
    remembered = f"-A {chain} -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-X --rsource -j KUBE-SEP-X\n"

    def with_affinity(text: str) -> str:
        head, mark, tail = text.partition(f"-A {chain}")
        return head + remembered + mark + tail

    prediction = predicted(changed(healthy(), NODE1, "iptables", with_affinity), KUARD, "httpd-svc")
    assert prediction.succeeds
    assert any("stays with the endpoint" in note for note in prediction.walks[0].notes)
