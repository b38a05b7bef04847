"""Commands that are printed to be pasted on this machine: they run on the host as they stand, as root or by sudo."""

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.config.cluster import SshAccess
from kubeproof.proof.checks import run_all
from kubeproof.proof.probe import Probe, Verdict, summarize
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.result import Remedy, Status
from kubeproof.walkthrough.attempt import InPod, OnNode, fetch
from tests.unit.doctor import patient
from tests.unit.doctor.test_causes import BAD
from tests.unit.proof import good

ROOT = {name: SshAccess(name, user="root") for name in good.NAMES}
SUDO = {name: SshAccess(name, user="debian", port=2222, key=Path("/keys/a b"), sudo=True) for name in good.NAMES}
ASKED = {name: replace(access, sudo_password="x") for name, access in SUDO.items()}
TRICKY = ("don't", "costs $HOME", "a`id`b", 'say "x" \\ y', "two\nlines", "a; b | c && d > e", "*", "-n", "ü!")
TOOLS = {
    # As ssh(1): options and the host, then the rest joined with spaces for the host's shell.
    "ssh": 'while :; do case $1 in -o|-l|-p|-i|-F) shift 2;; -t) shift;; *) break;; esac; done; shift; exec sh -c "$*"',
    "sudo": 'AS_ROOT=yes exec "$@"',
    "date": 'case $1 in +%s) echo 1234;; *) echo "$AS_ROOT $*";; esac',
}


def told(access: SshAccess, line: str) -> str:
    """The shell text that a line runs on the host, having gone through this machine's shell and the host's."""
    words = shlex.split(line)
    begin = [*access.command()[:-1], *(["-t"] if access.sudo_password else []), access.hostname]
    assert words[: len(begin)] == begin
    (text,) = words[len(begin) :]
    if not access.sudo:
        return text
    sudo, shell, option, inner = shlex.split(text)
    assert (sudo, shell, option) == ("sudo", "sh", "-c")
    return inner


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    for name, text in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/wrong", "AS_ROOT": ""}


def run(line: str, environment: dict[str, str]) -> str:
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("access", [ROOT["node-b"], SUDO["node-b"], ASKED["node-b"]])
def test_a_pasted_line_runs_as_it_was_meant(access: SshAccess, tools: dict[str, str]) -> None:
    for text in TRICKY:
        printed = run(access.line(f"echo \"$AS_ROOT\"; printf '%s' {shlex.quote(text)}"), tools)
        assert printed == f"{'yes' if access.sudo else ''}\n{text}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_text_is_quoted_for_both_shells(text: str) -> None:
    for access in (ROOT["node-b"], SUDO["node-b"], ASKED["node-b"]):
        assert told(access, access.line(text)) == text


def snapshot(ssh: dict[str, SshAccess]) -> Snapshot:
    return good.snapshot(loaded=replace(good.loaded(), ssh=ssh))


@pytest.mark.parametrize("ssh", [ROOT, SUDO])
def test_every_row_of_the_proof(ssh: dict[str, SshAccess]) -> None:
    read = snapshot(ssh)
    rows = [*run_all(read.contexts()), *read.reachability(), *replace(read, objects="silent").reachability()]
    probe = Probe("row", "node-b", "it", "echo 'a'", "a", lambda _: "x", container="c1")
    rows += summarize([(probe, Verdict(Status.BROKEN, "x"))], read.line)
    assert len(rows) > 50
    for row in rows:
        subprocess.run(["sh", "-n", "-c", told(ssh[row.node], row.look_further)], check=True)


@pytest.mark.parametrize("ssh", [ROOT, SUDO, ASKED])
def test_every_remedy_of_the_doctor(ssh: dict[str, SshAccess], tools: dict[str, str]) -> None:
    remedies: list[Remedy] = []
    for _, change, *_ in BAD:
        evidence = change(patient.evidence())
        loaded = replace(evidence.snapshot.loaded, ssh=ssh)
        evidence = replace(evidence, snapshot=replace(evidence.snapshot, loaded=loaded))
        for diagnosis in patient.found(evidence):
            for remedy in (remedy for case in diagnosis.cases for remedy in case.remedies):
                line = remedy.paste(ssh)
                remedies.append(remedy)
                if remedy.where != "firewall":
                    subprocess.run(["bash", "-n", "-c", line], check=True)
                if remedy.where == "node":
                    assert told(ssh[remedy.node], line) == remedy.command
                if "date --set" in line:
                    assert run(line, tools).split() == [*(["yes"] if ssh is not ROOT else []), "--set=@1234"]
                    assert line.count("sudo ") == (ssh is not ROOT)  # what is taken from another host has no terminal
    assert len(remedies) > 40
    assert any("date --set" in remedy.command for remedy in remedies)


@pytest.mark.parametrize("ssh", [ROOT, SUDO])
def test_attempts_of_the_walk_through(ssh: dict[str, SshAccess]) -> None:
    loaded = replace(good.loaded(), ssh=ssh)
    words = fetch("http://192.0.2.1:33000/?a=b&c")
    assert shlex.split(told(ssh["node-b"], OnNode("node-b", words).line(loaded))) == list(words)
    assert shlex.split(InPod("client", words).line(loaded)) == [
        *("./inv", "kubectl", "-i", "/inventory.py", "--", "exec", "client", "--", *words),
    ]
