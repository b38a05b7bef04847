"""Settings that are changed while the cluster runs: applied where that is possible, refused where it is not."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.settings import load
from lab.wait import wait_until
from tests.lab.changed_inventory import changed
from tests.lab.commands import changes, inv, last_changes, succeed
from tests.lab.remote import kubectl, ssh

pytestmark = pytest.mark.usefixtures("running_lab")

NODES = [node.name for node in load().nodes]
NODE_PORT = 32999
LOG_FILES = 7
REFUSED = {
    "pod_cidr": "10.201.0.0/16",
    "pod_subnet_bits": 25,
    "service_cidr": "10.202.0.0/16",
    "cluster_domain": "other.local",
    "node_port_range": "30000-33100",
    "api_port": 7443,
    "cgroup_driver": "systemd",
    "conntrack_max_per_core": 1000,
    "cluster_dns": "coredns",
    "etcd_image_tag": "9.9.9",
}
"""Settings that only a new cluster can have, with other values than the lab's."""


DOCKER = {
    "Container runtime | Configure Docker",
    "Container runtime | Restart Docker if its configuration is newer than it",
}


def has_new_logs(name: str) -> bool:
    """Whether the log of the youngest container on a node may have as many files as is set now."""
    ask = "docker inspect --format '{{index .HostConfig.LogConfig.Config \"max-file\"}}'"
    return ssh(name, f"for container in $(docker ps --quiet --last 1); do {ask} $container; done") == str(LOG_FILES)


@pytest.fixture(scope="module", autouse=True)
def as_before() -> Iterator[None]:
    """The settings of the lab are in force again in the end."""
    yield
    succeed("apply")
    assert changes(succeed("plan")) == 0
    wait_until(lambda: inv("verify").code == 0, seconds=90, what="the proof to hold with the settings as before")


def test_what_cannot_be_applied_is_refused_all_at_once(tmp_path: Path) -> None:
    file = changed(tmp_path, **REFUSED)
    before = kubectl("get configmaps -A -o jsonpath='{.items[*].metadata.resourceVersion}'")
    outcome = inv("apply", "-i", str(file))
    assert outcome.code in (1, 2)
    assert "Starting operation" not in outcome.output
    assert "Traceback" not in outcome.output
    # The command's own last words repeat the last of them.
    lines = [line for line in outcome.output.splitlines() if not line.startswith("error: ")]
    for name, value in REFUSED.items():
        (line,) = (line for line in lines if f"[error] changed-{name.replace('_', '-')} " in line)
        assert f"and {value} in the settings" in line
        assert "`./inv reset` and then `./inv apply`" in line
    assert kubectl("get configmaps -A -o jsonpath='{.items[*].metadata.resourceVersion}'") == before


def test_what_can_be_applied_is(tmp_path: Path) -> None:
    """Docker's configuration on every node with its restart, and another port of the demo."""
    file = changed(tmp_path, docker_log_max_file=LOG_FILES, httpd_node_port=NODE_PORT)
    planned = succeed("plan", "-i", str(file))
    output = succeed("apply", "-i", str(file))
    assert changes(output) == changes(planned) == 2 * len(NODES) + 2
    made = last_changes()
    for name in NODES:
        assert set(made[name]) - {"Demo | Render httpd", "Demo | Apply httpd"} == DOCKER
        wait_until(partial(has_new_logs, name), seconds=60, what=f"{name}'s containers to come back")
    assert kubectl("get service httpd-svc -o jsonpath='{.spec.ports[0].nodePort}'") == str(NODE_PORT)
    ssh(
        NODES[0],
        f"curl --noproxy '*' -sf --retry 5 --retry-all-errors -o /dev/null http://{load().nodes[0].address}:{NODE_PORT}/",
    )
    assert changes(succeed("plan", "-i", str(file))) == 0


def test_what_is_taken_away_goes(tmp_path: Path) -> None:
    """Without the demo its objects go, and what others have in its namespace stays."""
    kubectl("create configmap somebody-elses")
    try:
        file = changed(tmp_path, docker_log_max_file=LOG_FILES, demo=False)
        planned = succeed("plan", "-i", str(file))
        assert "Demo | Take httpd away" in planned
        assert changes(succeed("apply", "-i", str(file))) == changes(planned) == 2
        assert kubectl("get deployments,services -n default -o name") == "service/kubernetes"
        assert kubectl("get configmap somebody-elses -o name") == "configmap/somebody-elses"
        assert changes(succeed("plan", "-i", str(file))) == 0
    finally:
        kubectl("delete configmap somebody-elses")
