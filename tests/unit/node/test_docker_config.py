import json

import pytest

from kubeproof.node import templates
from kubeproof.node.docker_config import merged, problem
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
