"""The commands that users type, run as they run them."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.paths import REPOSITORY

DEPLOY_LOG = Path("/var/log/kubeproof/deploy.log")

TIMEOUT_SECONDS = 1800
"""The longest command builds Kubernetes on a machine with empty caches."""


@dataclass(frozen=True)
class Outcome:
    """What a command exited with and printed, both streams together."""

    code: int
    output: str


def changes(output: str) -> int:
    """The number of changes that a command ended with: the total of `up`, or what `apply` and the others say."""
    found = re.findall(r"(?<![0-9])([0-9]+) changes?\b", output)
    assert found, f"no number of changes in:\n{output[-2000:]}"
    return int(found[-1])


def inv(*words: str, timeout: float = TIMEOUT_SECONDS) -> Outcome:
    """Run ./inv with these words."""
    done = subprocess.run(
        [REPOSITORY / "inv", *words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(done.stdout)
    return Outcome(done.returncode, done.stdout)


def succeed(*words: str, timeout: float = TIMEOUT_SECONDS) -> str:
    """Run ./inv with these words, which must succeed, and return what it printed."""
    outcome = inv(*words, timeout=timeout)
    assert outcome.code == 0, f"./inv {' '.join(words)}: exit code {outcome.code}\n{outcome.output[-3000:]}"
    return outcome.output


def last_changes() -> dict[str, list[str]]:
    """Operations by the host that they changed in the last apply, from what pyinfra has left in its log."""
    text = DEPLOY_LOG.read_text()
    document, _ = json.JSONDecoder().raw_decode(text[text.index("\n{") + 1 :])
    found: dict[str, list[str]] = {}
    for operation in document["results"]["operations"]:
        for host in operation["success"]:
            found.setdefault(host, []).append(operation["name"])
    return found


def holds(output: str) -> bool:
    """Whether all of a proof holds."""
    return re.search(r"\b(\d+) of \1 hold", output) is not None
