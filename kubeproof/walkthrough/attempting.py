"""Makes attempts for real: by kubectl exec, over ssh, and from this machine."""

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from kubeproof.access import programs, remote_kubectl, sudo
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.patience import patient
from kubeproof.proof.demo_client import summary
from kubeproof.walkthrough.attempt import ANSWER_SECONDS, Attempt, FromHere, InPod, Outcome, Result, read, together

IN_FORCE_SECONDS = 20
"""How long a policy may take to be in force before an attempt that fares otherwise is told as wrong."""
COMMAND_SECONDS = 30
"""For the whole way to where an attempt is made and back, which ends by itself after ANSWER_SECONDS."""
AT_ONCE = 6
"""Attempts at a time: each is an ssh connection, and often a kubectl on the control plane host."""


def make(loaded: LoadedInventory, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Result, float]]:
    """Make attempts until each has come out as it has to, or IN_FORCE_SECONDS have passed.

    Returns each with its last result and the seconds from the start until that was there.
    """
    started = time.monotonic()

    def until_it_fits(attempt: Attempt) -> tuple[Attempt, Result, float]:
        while True:
            result = once(loaded, attempt)
            took = time.monotonic() - started
            if attempt.fits(result) or took > patient(IN_FORCE_SECONDS):
                return attempt, result, took

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(until_it_fits, attempts))


def once(loaded: LoadedInventory, attempt: Attempt) -> Result:
    way = attempt.way
    if isinstance(way, FromHere):
        return together([_get(way.url) for _ in range(way.times)])
    if isinstance(way, InPod):
        command = remote_kubectl.command(loaded, ["exec", way.pod, "--", *way.words], terminal=False)
        given = remote_kubectl.leader_input(loaded)
    else:
        command = remote_kubectl.over_ssh(loaded.ssh[way.node], way.words)
        given = sudo.given_as_input(loaded.ssh[way.node].sudo_password)
    try:
        done = programs.run(command, given=given, seconds=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return Result(Outcome.FAILED, f"no end within {COMMAND_SECONDS} s, though it gives up after {ANSWER_SECONDS}")
    if done.returncode == remote_kubectl.SSH_FAILED:
        return Result(Outcome.FAILED, f"ssh: {(done.stderr.strip() or 'no connection').splitlines()[-1]}")
    return read(way.words, done.returncode, done.stdout, done.stderr)


def _get(url: str) -> Result:
    """One request without any proxy. A refused connection is no policy's doing: podnet and Calico drop."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=patient(ANSWER_SECONDS)) as answer:
            return Result(Outcome.OPEN, summary(answer.read(1 << 16).decode(errors="replace")))
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return Result(Outcome.BLOCKED, f"no answer within {patient(ANSWER_SECONDS)} s")
        return Result(Outcome.FAILED, f"{reason}")
