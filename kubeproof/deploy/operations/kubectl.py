"""Objects in the cluster, from the control plane host."""

import shlex
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import Sha256File

from kubeproof.access.downloads import sha256
from kubeproof.deploy.context import left_out
from kubeproof.deploy.facts.files import Existing
from kubeproof.deploy.facts.kubernetes import KUBECTL, REQUEST_SECONDS, LiveObjects, ManifestDifference, Objects
from kubeproof.deploy.operations.remote import NodeError, read_only, try_run, wait_until
from kubeproof.deploy.run_events import because
from kubeproof.networks import documents
from kubeproof.node import asked_for
from kubeproof.node.readiness import Expectation, crowded, unready, unready_pods
from kubeproof.node.texts import shortened
from kubeproof.node.unready_pods import Container, Lasting, containers, details, warnings

NEWS_SECONDS = 15.0
"""While pods are waited for, as often is told why they are not ready."""
EVENTS = "involvedObject.kind=Pod,type=Warning"


@operation()
def apply(path: str, text: str) -> Generator[str, None, None]:
    """Apply the objects in a file on the host, if that changes any of them. ``text`` is what the file shall have.

    While a plan is made the file may still have other objects: then nobody can ask what they would change. Else what
    the objects ask for decides; what the server would drop again, as fields that it does not know, is no change.
    """
    if host.get_fact(Sha256File, path=path) != sha256(text):
        because(f"{path} is to have other objects")
    elif found := _differences(path, text):
        because("the cluster's objects differ:", *shortened(found))
    else:
        host.noop("the cluster has these objects")
        return
    yield f"{KUBECTL} apply --filename {shlex.quote(path)}"


def _differences(path: str, text: str) -> list[str]:
    """What applying the file would change, as lines for people; empty if that is nothing."""
    wanted = documents.load(text, path)
    if any(item["kind"] == "Secret" for item in wanted):
        # kubectl diff masks their values, and they stay on the host.
        shown: list[str] = host.get_fact(ManifestDifference, path=path)
        return shown
    live: list[dict[str, Any]] = host.get_fact(LiveObjects, path=path)
    lines = asked_for.differences(wanted, live)
    return lines if lines and host.get_fact(ManifestDifference, path=path) else []


@operation()
def spread(deployments: Sequence[str]) -> Generator[str, None, None]:
    """Have the pods of each Deployment on more than one node, if there are more: new pods are spread."""
    objects: list[dict[str, Any]] = host.get_fact(Objects)
    found = crowded(objects, deployments)
    if not found:
        host.noop("pods are on several nodes, or there is only one")
        return
    because(*(f"all pods of {name} are on {node}, though there are other nodes" for name, node in found.items()))
    yield f"{KUBECTL} rollout restart {' '.join(f'deployment/{name}' for name in found)}"


@operation()
def withdraw(path: str) -> Generator[str, None, None]:
    """Delete the objects that a deploy has applied from a file, which tells that it was one, and the file."""
    if not host.get_fact(Existing, candidates=[path]):
        host.noop("no deploy has made such objects")
        return
    because(f"its objects are not wanted any more: {path}")
    file = shlex.quote(path)
    yield f"{KUBECTL} delete --ignore-not-found --filename {file} && rm -f {file}"


@operation()
def wait_ready(expected: Expectation, seconds: float) -> Generator[PyinfraCommand, None, None]:
    """Wait until what is expected is ready. Fails after ``seconds``, naming what is not and why."""
    expected = expected.without(_away(host))
    objects: list[dict[str, Any]] = host.get_fact(Objects)
    if not unready(objects, expected):
        host.noop("all is ready")
        return
    yield from read_only(host, _wait_ready, expected, seconds)


def _wait_ready(host: Host, expected: Expectation, seconds: float) -> None:
    wait_until(host, _Watch(host, expected).problem, seconds)


@dataclass
class _Watch:
    """Looks at what is not ready: tells why every NEWS_SECONDS, and ends the wait for what will not get ready."""

    host: Host
    expected: Expectation
    next_news: float = field(default_factory=lambda: time.monotonic() + NEWS_SECONDS)
    known: list[str] = field(default_factory=list)
    lasting: Lasting = field(default_factory=Lasting)

    def problem(self) -> str:
        """What is not ready, with what was last found out about it. Raises NodeError for what will not get ready."""
        objects: list[dict[str, Any]] = self.host.get_fact(Objects)
        lines = unready(objects, self.expected)
        if not lines:
            return ""
        now, found = time.monotonic(), containers(objects, self.expected)
        given_up = self.lasting.given_up(found, now)
        if given_up or now >= self.next_news:
            self.next_news = now + NEWS_SECONDS
            self.known = self._details(objects, found)
            for line in [*lines, *self.known]:
                self.host.log(f"waiting: {line}")
        if given_up:
            raise NodeError("\n    ".join(["this will not get ready:", *given_up, *self.known]))
        return "; ".join([*lines, *self.known])

    def _details(self, objects: list[dict[str, Any]], found: list[Container]) -> list[str]:
        names = [
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in unready_pods(objects, self.expected)
        ]
        events = warnings(self._ask("get", "events", "-A", "--field-selector", EVENTS, "-o", "json"))
        logs = {item.full_name: self._last_line(item) for item in found if item.has_ended}
        return details(found, names, events, logs)

    def _last_line(self, item: Container) -> str:
        where = ("--namespace", item.namespace, item.pod, "--container", item.name, "--tail", "1")
        return self._ask("logs", "--previous", *where) or self._ask("logs", *where)

    def _ask(self, *words: str) -> str:
        """What kubectl prints; nothing if it fails, since all this only adds to what is known."""
        command = [*shlex.split(KUBECTL), "--request-timeout", f"{REQUEST_SECONDS}s", *words]
        done, output = try_run(self.host, command)
        return output if done else ""


def _away(host: Host) -> frozenset[str]:
    """Hosts that nothing is waited for on: those that --limit leaves out, and those that already failed in this run and
    have been reported, so that waiting for them would only add a second error."""
    return left_out() | {failed.name for failed in host.state.failed_hosts}
