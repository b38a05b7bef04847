"""Why pods are not ready, beyond their own status: events, restarts, last lines; and which will not get ready. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubeproof.node.readiness import Expectation, Object, troubled, unready_pods

CRASHING = "CrashLoopBackOff"
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
RESTARTS = 3
"""Restarts after which a container counts as in a crash loop: kubelet has waited 10, 20 and 40 s between them."""
LASTING_SECONDS = 30.0
"""How long a container has to be seen so before it is given up: a registry or the API may just have been away."""
SHOWN = 300
"""Characters of an event or a line."""


@dataclass(frozen=True)
class Container:
    """A container that is not right. ``reason`` is why it waits or ended, ``exit_code`` of its last end."""

    namespace: str
    pod: str
    name: str
    reason: str
    message: str
    restarts: int
    exit_code: int | None

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.pod}"

    @property
    def has_ended(self) -> bool:
        return self.exit_code is not None

    @property
    def looks_hopeless(self) -> bool:
        return self.reason in NO_IMAGE or (self.reason == CRASHING and self.restarts >= RESTARTS)


def containers(objects: Sequence[Object], expected: Expectation) -> list[Container]:
    """The first container of each pod that is waited for that waits for something, or has ended with an error."""
    found = (next(_of(pod), None) for pod in unready_pods(objects, expected))
    return [container for container in found if container]


def _of(pod: Object) -> Iterator[Container]:
    metadata = pod["metadata"]
    for item, told in troubled(pod):
        ended = item.get("state", {}).get("terminated") or item.get("lastState", {}).get("terminated")
        yield Container(
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
            str(item["name"]),
            str(told.get("reason", "")),
            str(told.get("message", "")),
            int(item.get("restartCount", 0)),
            ended.get("exitCode") if ended else None,
        )


def warnings(text: str) -> dict[str, str]:
    """The last warning of each pod by ``namespace/name``, from `kubectl get events -o json`; none if it is not JSON."""
    try:
        items = json.loads(text)["items"]
    except (ValueError, KeyError, TypeError):
        return {}
    found: dict[str, tuple[str, str]] = {}
    for item in items:
        about = item.get("involvedObject") or {}
        name = f"{about.get('namespace', '')}/{about.get('name', '')}"
        when = str(item.get("lastTimestamp") or item.get("eventTime") or item.get("firstTimestamp") or "")
        words = " ".join(str(item.get(key) or "") for key in ("reason", "message"))
        if when >= found.get(name, ("", ""))[0]:
            found[name] = (when, _one_line(words))
    return {name: words for name, (_, words) in found.items()}


def details(
    items: Iterable[Container], unready: Iterable[str], events: Mapping[str, str], lines: Mapping[str, str]
) -> list[str]:
    """A phrase for each pod of which more is known than its status says; ``lines`` are the last of logs, by pod."""
    by_pod = {item.full_name: item for item in items}
    found = []
    for name in dict.fromkeys([*by_pod, *unready]):
        item = by_pod.get(name)
        parts = [f"container {item.name} restarted {item.restarts} times"] if item and item.restarts else []
        parts += [f"its last line: {_one_line(lines[name])}"] if lines.get(name, "").strip() else []
        parts += [f"last event: {events[name]}"] if name in events else []
        found += [f"pod {name}: {', '.join(parts)}"] if parts else []
    return found


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]} …"


@dataclass
class Lasting:
    """Since when containers have looked hopeless. Times are in seconds of any one clock."""

    since: dict[tuple[str, str], float] = field(default_factory=dict)

    def given_up(self, items: Iterable[Container], now: float) -> list[str]:
        """A phrase for each container that has looked hopeless for LASTING_SECONDS."""
        hopeless = {(item.full_name, item.name): item for item in items if item.looks_hopeless}
        self.since = {key: self.since.get(key, now) for key in hopeless}
        return [
            f"pod {item.full_name}: container {item.name} {_why(item)}"
            for key, item in hopeless.items()
            if now - self.since[key] >= LASTING_SECONDS
        ]


def _why(item: Container) -> str:
    if item.reason == CRASHING:
        code = "" if item.exit_code is None else f", each time with an error (exit code {item.exit_code})"
        return f"does not stay up: it ended {item.restarts + 1} times{code}"
    return f"cannot start, since its image cannot be had: {item.reason} {_one_line(item.message)}".strip()
