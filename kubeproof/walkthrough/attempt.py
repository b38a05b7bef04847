"""One attempt to get through: who tries, how, and what came of it. Pure."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.patience import patient
from kubeproof.proof.demo_client import summary

ANSWER_SECONDS = 2
"""A packet that passes is answered within milliseconds; what is dropped stays unanswered."""
CURL_NO_ANSWER = 28
"""curl(1), EXIT CODES: operation timeout."""
PING_NO_REPLY = 1
"""ping(8): no reply at all; 2 is an error of ping's own."""


SHOWN = 200
"""Characters of an answer."""


class Outcome(Enum):
    """What came of an attempt. FAILED means that nothing is known: the attempt itself did not work."""

    OPEN = "gets in"
    BLOCKED = "blocked"
    FAILED = "did not work"


@dataclass(frozen=True)
class Result:
    """An outcome, and what was seen of it in a few words."""

    outcome: Outcome
    found: str


@dataclass(frozen=True)
class InPod:
    """A command in a pod of the namespace default, run by `kubectl exec`."""

    pod: str
    words: tuple[str, ...]

    def line(self, loaded: LoadedInventory) -> str:
        return f"{loaded.inv('kubectl')} -- exec {self.pod} -- {shlex.join(self.words)}"


@dataclass(frozen=True)
class OnNode:
    """A command on a host of the cluster, over ssh."""

    node: str
    words: tuple[str, ...]

    def line(self, loaded: LoadedInventory) -> str:
        return loaded.ssh[self.node].line(shlex.join(self.words))


@dataclass(frozen=True)
class FromHere:
    """Requests from this machine, outside of the cluster. A Service picks an endpoint for each at random."""

    url: str
    times: int = 1

    def line(self, _: LoadedInventory) -> str:
        """As the others', to be pasted on this machine."""
        times = f"  # {self.times} times" if self.times > 1 else ""
        return f"curl --noproxy '*' -m {patient(ANSWER_SECONDS)} {self.url}{times}"


@dataclass(frozen=True)
class Attempt:
    """Who tries what, and what has to come of it. ``expected`` text, if given, has to be in the answer."""

    who: str
    way: InPod | OnNode | FromHere
    outcome: Outcome
    answer: str = ""

    def fits(self, result: Result) -> bool:
        return result.outcome is self.outcome and self.answer in result.found


def fetch(url: str) -> tuple[str, ...]:
    """The words of curl that fetch a page, whatever proxy the environment names, or end after ANSWER_SECONDS."""
    return ("curl", "--noproxy", "*", "-s", "-S", "-m", str(patient(ANSWER_SECONDS)), url)


def ping(address: object) -> tuple[str, ...]:
    """The words of ping that send one echo request and wait ANSWER_SECONDS for the reply."""
    return ("ping", "-n", "-c", "1", "-W", str(patient(ANSWER_SECONDS)), str(address))


def read(words: Sequence[str], code: int, output: str, errors: str) -> Result:
    """What a finished curl or ping says by its exit code and output."""
    silent = CURL_NO_ANSWER if words[0] == "curl" else PING_NO_REPLY
    if code == 0:
        return Result(Outcome.OPEN, "an echo reply" if words[0] == "ping" else summary(output, SHOWN))
    if code == silent:
        return Result(Outcome.BLOCKED, f"no answer within {patient(ANSWER_SECONDS)} s")
    last = (errors.strip() or output.strip() or "no output").splitlines()[-1]
    return Result(Outcome.FAILED, f"{words[0]}: exit code {code}: {last}")


def together(results: Sequence[Result]) -> Result:
    """Several requests as one: all have to fare alike, or nothing can be said of them all."""
    outcomes = {result.outcome for result in results}
    if len(outcomes) == 1:
        return Result(results[0].outcome, results[0].found)
    opened = sum(result.outcome is Outcome.OPEN for result in results)
    return Result(Outcome.FAILED, f"{opened} of {len(results)} requests get in, the others do not")
