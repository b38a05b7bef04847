"""What is shown of a host when kubeadm only says that it waited: in a real shell, with a journal of this test's own."""

import os
import subprocess
from pathlib import Path

import pytest

from kubeproof.deploy.operations.kubeadm import NOISE, SCRIPT, SECONDS, without_advice

APPARMOR = (
    'E1128 10:00:01.1 1 kuberuntime_manager.go:755] createPodSandbox for pod "etcd-master" failed: AppArmor enabled on '
    "system but the docker-default profile could not be loaded: apparmor_parser: executable file not found in $PATH"
)
JOURNAL = f"""I1128 10:00:00.1 1 server.go:416] Version: v1.20.2
{APPARMOR}
E1128 10:00:02.1 1 kubelet.go:2240] node "master" not found
E1128 10:00:02.2 1 reflector.go:138] failed to list: dial tcp 192.0.2.11:6443: connect: connection refused
E1128 10:00:02.3 1 kubelet.go:2163] Container runtime network not ready: cni config uninitialized
"""
# kubeadm 1.20's and 1.31's.
OLD = """[kubelet-check] Initial timeout of 40s passed.

	Unfortunately, an error has occurred:
		timed out waiting for the condition

	This error is likely caused by:
		- The kubelet is not running

	Additionally, a control plane component may have crashed or exited when started by the container runtime.
		- 'docker ps -a | grep kube | grep -v pause'

error execution phase wait-control-plane: couldn't initialize a Kubernetes cluster
To see the stack trace of this error execute with --v=5 or higher
"""
NEW = """[api-check] The API server is not healthy after 4m0.000966393s

Unfortunately, an error has occurred:
	context deadline exceeded

This error is likely caused by:
	- The kubelet is not running
	- 'systemctl status kubelet'
error execution phase wait-control-plane: could not initialize a Kubernetes cluster
"""


def said(folder: Path, journal: str, *units: str) -> list[str]:
    """What the script prints where each unit has this journal."""
    program, marker = folder / "journalctl", folder / "marker"
    (folder / "journal").write_text(journal)
    program.write_text(f'#!/bin/sh\ncat {folder}/journal\necho "$@" >>{folder}/asked\n')
    program.chmod(0o755)
    marker.touch()
    os.utime(marker, (1000, 1000))
    script = SCRIPT.replace("/var/log/pods", f"{folder}/pods")
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(marker), str(SECONDS), NOISE, *units],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_last_error_that_is_no_noise(tmp_path: Path) -> None:
    assert said(tmp_path, JOURNAL, "kubelet.service") == [f"kubelet.service: {APPARMOR}"]
    assert "--since @1000 --unit kubelet.service" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("journal", ["", "I1128 10:00:00.1 1 server.go:416] fine\n"])
def test_nothing_is_made_up(journal: str, tmp_path: Path) -> None:
    assert said(tmp_path, journal, "kubelet.service", "docker.service") == []


@pytest.mark.parametrize(
    ("file", "text", "shown"),
    [
        (
            "3.log",
            '{"log":"bind: address already in use\\n","stream":"stderr","time":"x"}\n',
            "bind: address already in use",
        ),
        ("1.log", "2026-11-28T10:00:00Z stderr F Error: unknown flag: --foo\n", "Error: unknown flag: --foo"),
        ("0.log", "2026-11-28T10:00:00Z stderr F serving\n", ""),
    ],
)
def test_containers_that_were_started_again(file: str, text: str, shown: str, tmp_path: Path) -> None:
    folder = tmp_path / "pods" / "kube-system_etcd-master_1" / "etcd"
    folder.mkdir(parents=True)
    (folder / file).write_text(text)
    assert said(tmp_path, "", "kubelet.service") == (
        [f"etcd ended and was started again, last: {shown}"] if shown else []
    )


@pytest.mark.parametrize("output", [OLD, NEW])
def test_advice_is_left_out_and_what_failed_stays(output: str) -> None:
    first, last, *_ = without_advice(output).splitlines()
    assert first.startswith(("[kubelet-check]", "[api-check]"))
    assert last.startswith("error execution phase wait-control-plane")


def test_other_complaints_of_kubeadm_stay() -> None:
    complaint = "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR NumCPU]: 1"
    assert without_advice(complaint) == complaint
