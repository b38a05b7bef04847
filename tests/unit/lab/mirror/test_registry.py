"""What is done to bring the registry to hold the wanted images and no others; the registry itself is a stand-in."""

import json
from pathlib import Path

import pytest

from lab import settings
from lab.mirror import registry
from lab.mirror.daemons import Daemon
from lab.mirror.registry import Shelf

NAME = "org.opencontainers.image.ref.name"
DIGESTS = {"a-1": "sha256:a1", "b-1": "sha256:b1"}
WANTED = {"a-1": "r:1/a:1", "b-1": "r:1/b:1"}


@pytest.fixture
def server() -> Daemon:
    return registry.daemon(settings.parse(settings.read_file(settings.FILE), {}))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    manifests = [{"digest": digest, "annotations": {NAME: tag}} for tag, digest in DIGESTS.items()]
    (tmp_path / "index.json").write_text(json.dumps({"manifests": manifests}))
    return tmp_path


@pytest.mark.parametrize(
    ("held", "done"),
    [
        ({"r:1/a:1": "sha256:a1", "r:1/b:1": "sha256:b1"}, []),
        ({"r:1/a:1": "sha256:a1"}, ["r:1/b:1"]),
        ({"r:1/a:1": "sha256:a1", "r:1/b:1": "sha256:b0"}, ["emptied", "r:1/a:1", "r:1/b:1"]),
        ({"r:1/a:1": "sha256:a1", "r:1/b:1": "sha256:b1", "r:1/b:0": "sha256:b0"}, ["emptied", "r:1/a:1", "r:1/b:1"]),
    ],
)
def test_only_what_is_wanted_is_held(
    server: Daemon, layout: Path, held: dict[str, str], done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(registry, "held_by", lambda _host: held)
    monkeypatch.setattr(registry, "_empty", lambda _server: steps.append("emptied"))
    monkeypatch.setattr(registry, "_copy", lambda _source, reference: steps.append(reference))
    assert registry.fill(server, Shelf(layout, WANTED), Shelf(layout / "absent", {})) == len(
        [step for step in steps if step != "emptied"]
    )
    assert steps == done


def test_the_registrys_answers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        f"_catalog?n={registry.MOST_NAMES}": ('{"repositories": ["a", "gone"]}', {}),
        "a/tags/list": ('{"name": "a", "tags": ["1"]}', {}),
        "a/manifests/1": ("{}", {"Docker-Content-Digest": "sha256:a1"}),
        "gone/tags/list": ("", {}),
    }
    monkeypatch.setattr(registry, "_ask", lambda _host, path: answers[path])
    assert registry.held_by("r:1") == {"r:1/a:1": "sha256:a1"}
