"""The lab's stand-in for crictl: what kubeadm asks, put to containerd's own client."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.mirror.packages import DEBIAN

SOCKET = "unix:///run/containerd/containerd.sock"


def asked(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run it with a client that prints its arguments."""
    client = tmp_path / "ctr"
    client.write_text('#!/bin/sh\necho "$@"\n')
    client.chmod(0o755)
    return subprocess.run(
        ["sh", DEBIAN / "crictl", *words],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["info"], "version"),
        (["pods", "-q"], 'containers list --quiet labels."io.cri-containerd.kind"==sandbox'),
        (["pull", "r:5000/a:1"], "images pull --hosts-dir /etc/containerd/certs.d r:5000/a:1"),
        (["stopp", "x"], "tasks delete --force x"),
        (["rmp", "x"], "containers delete x"),
    ],
)
def test_what_kubeadm_asks(tmp_path: Path, words: list[str], wanted: str) -> None:
    done = asked(tmp_path, "-r", SOCKET, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"--address /run/containerd/containerd.sock --namespace k8s.io {wanted}"


def test_an_image_is_there_or_not(tmp_path: Path) -> None:
    listed = "--address /run/containerd/containerd.sock --namespace k8s.io images list --quiet"
    assert asked(tmp_path, "-r", SOCKET, "inspecti", listed).returncode == 0
    assert asked(tmp_path, "-r", SOCKET, "inspecti", "r:5000/absent:1").returncode == 1


@pytest.mark.parametrize("words", [[], ["-r", SOCKET], ["-r", SOCKET, "logs", "x"]])
def test_anything_else_is_refused(tmp_path: Path, words: list[str]) -> None:
    done = asked(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("crictl: ")
