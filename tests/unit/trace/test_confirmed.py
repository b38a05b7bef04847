"""Where nothing is sent, or what became of it is not known, that is told."""

import os

import pytest

from kubeproof.trace import confirmed
from kubeproof.trace.confirmed import UnconfirmedError, confirm
from kubeproof.trace.watching import Sent, Watched
from kubeproof.trace.world import make
from tests.unit.trace.lab import FAR, KUARD, NODE1, healthy, predicted


def reasons(source: str, destination: str, port: str) -> list[str]:
    with pytest.raises(UnconfirmedError) as caught:
        confirm(predicted(healthy(), source, destination, port), make(healthy()), {})
    return caught.value.reasons


def test_an_address_outside_that_is_another_machines_is_not_forged() -> None:
    (reason,) = reasons("198.51.100.7", NODE1, "10250")
    assert reason == "no packet was sent: 198.51.100.7 is not this machine's address, write outside as FROM"


def test_without_a_namespace_on_the_way_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (reason,) = reasons("outside", "198.51.100.7", "80")
    assert reason == "no packet was sent: there is no network namespace on the way that could be watched"


@pytest.mark.parametrize(
    ("watched", "told"),
    [
        (Watched({}, {NODE1: "it is lost"}, (Sent(),)), "a packet was sent, but what became of it is not known"),
        (Watched({}, {NODE1: "it is lost"}), "no packet was sent"),
        (Watched({}, {NODE1: "it is lost"}, (Sent("Network is unreachable"),)), "no packet was sent"),
    ],
)
def test_a_lost_report_does_not_say_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, watched: Watched, told: str
) -> None:
    monkeypatch.setattr(confirmed, "watch", lambda *_: watched)
    assert reasons(KUARD, FAR, "80") == [f"{told}: {NODE1}: it is lost"]
