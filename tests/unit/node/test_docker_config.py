import json

import pytest

from kubeproof.node import templates
from kubeproof.node.runtime_config import WRITTEN, merged, problem
from tests.unit.node.example import cluster

OURS = templates.render("daemon.json.j2", settings=cluster().settings, enforcing=False)


@pytest.mark.parametrize("present", ["", "\n", "{}", OURS, '{"exec-opts": [], "log-driver": "journald"}'])
def test_without_keys_of_others_it_is_the_deploys(present: str) -> None:
    assert merged(present, OURS) == OURS


def test_keys_of_others_stay_and_the_deploys_win() -> None:
    present = '{"data-root": "/srv/docker", "exec-opts": ["native.cgroupdriver=cgroupfs"], "storage-driver": "btrfs"}'
    text = merged(present, OURS)
    assert json.loads(text) == {**json.loads(OURS), "data-root": "/srv/docker", "storage-driver": "btrfs"}
    assert merged(text, OURS) == text


def test_the_hosts_storage_driver_stays_alone() -> None:
    assert json.loads(merged('{"storage-driver": "btrfs"}', OURS))["storage-driver"] == "btrfs"


@pytest.mark.parametrize(("text", "said"), [("{", "line 1"), ("[]", "not a JSON object"), ("data-root=/x", "line 1")])
def test_what_docker_cannot_read(text: str, said: str) -> None:
    assert said in problem(text)
    with pytest.raises(ValueError, match=said):
        merged(text, OURS)


def test_what_docker_can_read() -> None:
    assert problem("") == problem("{}") == ""


THEIRS = """{"insecure-registries": ["r.example:5000", "192.0.2.1:5000"], "registry-mirrors": ["https://m.example"],
"exec-opts": ["native.umask=normal", "native.cgroupdriver=cgroupfs"], "log-opts": {"labels": "a", "max-size": "1g"},
"dns": ["198.51.100.53"], "live-restore": true}"""


@pytest.mark.parametrize("text", [THEIRS, f"\ufeff{THEIRS}"])
def test_lists_have_what_both_want(text: str) -> None:
    found = json.loads(merged(text, OURS))
    assert found["insecure-registries"] == ["192.0.2.1:5000", "r.example:5000"]
    assert found["registry-mirrors"] == ["https://m.example"]
    assert found["exec-opts"] == ["native.cgroupdriver=systemd", "native.umask=normal"]
    assert found["log-opts"] == {"labels": "a", "max-size": "10m", "max-file": "3"}
    assert (found["dns"], found["live-restore"]) == (["198.51.100.53"], True)
    assert merged(merged(text, OURS), OURS) == merged(text, OURS)


def test_what_an_earlier_deploy_wanted_goes() -> None:
    """A registry that the inventory names no more is not the host's own."""
    once = merged(THEIRS, OURS.replace("192.0.2.1:5000", "192.0.2.9:5000"))
    assert json.loads(merged(once, OURS, THEIRS))["insecure-registries"] == ["192.0.2.1:5000", "r.example:5000"]
    assert merged(OURS.replace("192.0.2.1:5000", "192.0.2.9:5000"), OURS, "") == OURS


def test_options_of_another_way_to_log_go_with_it() -> None:
    present = '{"log-driver": "gelf", "log-opts": {"gelf-address": "udp://198.51.100.1:12201"}}'
    assert merged(present, OURS) == OURS


def test_the_keys_that_are_written_are_those_of_the_template() -> None:
    assert set(WRITTEN) == set(json.loads(OURS))
