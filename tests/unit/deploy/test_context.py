"""Roles as deploy code sees them."""

from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from pyinfra.api import Inventory
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_host, ctx_inventory

from kubeproof.deploy import context
from kubeproof.terminal.errors import UserError
from tests.unit.samples import SETTINGS

HOSTS = [("control-1", {"address": "192.168.200.11"}), ("worker-1", {"address": "192.168.200.12"})]


@pytest.fixture
def inventory() -> Iterator[Inventory]:
    made = Inventory((HOSTS, dict(SETTINGS)), control_plane=(HOSTS[:1], {}), workers=(HOSTS[1:], {}))
    with ctx_inventory.use(made):
        yield made


def test_leader_and_worker(inventory: Inventory) -> None:
    with ctx_host.use(inventory.get_host("control-1")):
        assert context.is_leader()
        assert context.node().name == "control-1"
    with ctx_host.use(inventory.get_host("worker-1")):
        assert not context.is_leader()
        assert context.node().role == "worker"
    assert context.cluster() is context.cluster()
    assert context.leader_host() is inventory.get_host("control-1")


def test_wrong_settings_are_an_error_that_pyinfra_prints_without_traceback(inventory: Inventory) -> None:
    inventory.get_data().update(api_port=0, pod_cidr="10.1.0.0/16")
    with pytest.raises(DeployError) as error:
        context.cluster()
    assert len(str(error.value).splitlines()) == 2


def test_what_is_wrong_is_found_once_whoever_asks(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = Mock(side_effect=UserError(["api_port: is 0"]))
    monkeypatch.setattr(context, "cluster_from", refuse)
    for _ in inventory:
        with pytest.raises(DeployError, match="api_port"):
            context.cluster()
    assert refuse.call_count == 1
