"""A probe: a command somewhere, what it should bring, and how its outcome is judged. Pure.

Expected is worked out before anything is sent; observed is judged against it. A probe that could not work at all
(no such program, no answer that can be read) is broken, which is neither "blocked" nor "allowed".
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kubeproof.config.patience import patient
from kubeproof.rules.context import UndecidedError
from kubeproof.rules.result import WORST_FIRST, CheckResult, Remedy, Status
from kubeproof.state.collector import NOT_EXECUTABLE, NOT_FOUND, Output
from kubeproof.state.containers import DOCKER, Tool

REQUEST_SECONDS = 4
"""How long a probe waits for an answer: a packet that is dropped never brings one."""
SECONDS_IN_CONTAINER = REQUEST_SECONDS + 1
NO_DNS_ANSWER = f"no answer of the cluster DNS within {SECONDS_IN_CONTAINER} s"
"""getent(1) has no option for it: the C library asks for 5 s, and again (resolv.conf(5), timeout and attempts)."""

CURL_BLOCKED = {
    6: "the name cannot be resolved",
    7: "cannot connect",
    18: "an answer that was cut off",
    28: "no answer within {seconds} s",
    52: "an empty answer",
    55: "the request could not be sent",
    56: "the connection was reset",
}
"""Exit codes of curl(1) that tell something about the network, and not about curl or its command line."""


@dataclass(frozen=True)
class Verdict:
    status: Status
    found: str
    remedy: str = ""
    """Shell text for the probe's node, where one is known from the outcome alone."""


class FailedError(Exception):
    """What a probe sent did not come to what it should; says what it came to, and what is known to repair it."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.remedy = remedy


def compared(ok: bool, found: str, remedy: str = "") -> str:
    """What was found, if that is right. Raises FailedError."""
    if not ok:
        raise FailedError(found, remedy)
    return found


@dataclass(frozen=True)
class Probe:
    """One command. ``node`` is where it runs, and the column of its result; ``name`` the row.

    With a ``container`` (the runtime's id) the command runs inside of it, by the runtime's ``tool``.
    """

    name: str
    node: str
    label: str
    """What goes from where to where."""
    command: str
    expected: str
    judge: Callable[[Output], str] = field(repr=False)
    """What was found; raises FailedError if that is wrong, UndecidedError if the probe itself did not work."""
    container: str | None = None
    tool: Tool = DOCKER
    late: str = ""
    """What it says of the network if the command had to be ended; empty where it only says that the probe hung."""
    to_node: str = ""
    """Name of the node that it is sent to, or to a pod of; empty where it may go to any."""

    @property
    def text(self) -> str:
        """Shell text that runs the command on the node, within its container."""
        return self.tool.inside(self.container, self.command) if self.container else self.command


Line = Callable[[str, str], str]
"""Node and shell text -> what to paste on this machine."""


def judged(probe: Probe, output: Output) -> Verdict:
    """The verdict on an output, after what means a broken probe whatever it was about."""
    try:
        return Verdict(Status.HOLDS, _found(probe, output))
    except FailedError as error:
        return Verdict(Status.FAILS, str(error), error.remedy)
    except UndecidedError as error:
        return Verdict(Status.BROKEN, str(error))


def _found(probe: Probe, output: Output) -> str:
    if output.code in (NOT_FOUND, NOT_EXECUTABLE):
        raise UndecidedError(f"the probe's program cannot be run: {output.last_words}")
    if output.timed_out:
        raise FailedError(probe.late) if probe.late else UndecidedError("the probe itself did not end in time")
    return probe.judge(output)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The first one that failed, else that is broken, else the first."""
    return min(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.status))


def summarize(outcomes: Iterable[tuple[Probe, Verdict]], line: Line) -> list[CheckResult]:
    """One result for each row and node: fails if a probe failed, else broken if one was, else it holds."""
    groups: dict[tuple[str, str], list[tuple[Probe, Verdict]]] = {}
    for probe, verdict in outcomes:
        groups.setdefault((probe.name, probe.node), []).append((probe, verdict))
    return [_summary(name, node, group, line) for (name, node), group in groups.items()]


def _summary(name: str, node: str, group: Sequence[tuple[Probe, Verdict]], line: Line) -> CheckResult:
    shown = [(probe, verdict) for probe, verdict in group if verdict.status is not Status.HOLDS] or list(group)
    first = shown[0][0]
    return CheckResult(
        node=node,
        name=name,
        status=worst(verdict for _, verdict in group).status,
        expected="\n".join(dict.fromkeys(f"{probe.label}: {probe.expected}" for probe, _ in shown)),
        found="\n".join(dict.fromkeys(f"{probe.label}: {verdict.found}" for probe, verdict in shown)),
        look_further=line(node, first.text),
        remedies=tuple(Remedy(node, text) for text in dict.fromkeys(verdict.remedy for _, verdict in shown) if text),
    )


# Commands -----------------------------------------------------------------------------------------------------------

FOOT = "@@"
"""Starts the line that curl adds to the answer."""


def curl(url: str) -> str:
    """Shell text: GET, print the body, then a line with the status and the client's own address and port."""
    return (
        f"curl --silent --show-error --noproxy '*' --max-time {patient(REQUEST_SECONDS)} "
        f"--write-out '\\n{FOOT} %{{http_code}} %{{local_ip}} %{{local_port}}\\n' '{url}'"
    )


def in_namespace(pid: int, command: str) -> str:
    """Shell text: a program of the node, in the network namespace of a process."""
    return f"nsenter -t {pid} -n {command}"


@dataclass(frozen=True)
class Answer:
    """What curl brought: HTTP status, body, and the address and port that the client itself had."""

    status: int
    body: str
    local_address: IPv4Address
    local_port: int


def read_answer(output: Output) -> Answer:
    """The answer. Raises FailedError where there was none, UndecidedError for what is no output of curl's."""
    if output.code in CURL_BLOCKED:
        raise FailedError(f"{CURL_BLOCKED[output.code].format(seconds=patient(REQUEST_SECONDS))} ({output.last_words})")
    if output.code != 0:
        raise UndecidedError(f"curl: exit code {output.code}: {output.last_words}")
    body, found, foot = output.out.rpartition(f"\n{FOOT} ")
    try:
        status, address, port = foot.split()
        return Answer(int(status), body, IPv4Address(address), int(port))
    except ValueError:
        raise UndecidedError(f"curl's output cannot be read: {(found + foot)[:60]!r}") from None


@dataclass(frozen=True)
class Whoami:
    """What kuard's /whoami tells: who answered, and the client that it saw."""

    pod: str
    node: str
    pod_ip: IPv4Address
    client: IPv4Address
    client_port: int


def read_whoami(output: Output) -> tuple[Answer, Whoami]:
    """The answer of /whoami; raises as :func:`read_answer`."""
    answer = read_answer(output)
    if answer.status != 200:
        raise FailedError(f"HTTP status {answer.status}")
    try:
        values = json.loads(answer.body)
        return answer, Whoami(
            str(values["pod"]),
            str(values["node"]),
            IPv4Address(values["pod_ip"]),
            IPv4Address(values["client"]),
            int(values["client_port"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        what = f"/whoami did not answer as it should ({type(error).__name__}: {error}): {answer.body[:60]!r}"
        raise UndecidedError(what) from None
