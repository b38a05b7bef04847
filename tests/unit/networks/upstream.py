"""The published manifests, where they are beside the repository; and ways to compare what was made of them."""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kubeproof.networks import documents
from kubeproof.networks.manifest import Pinned
from kubeproof.networks.registry import PINNED
from kubeproof.terminal.exits import REPOSITORY

FOLDERS = (REPOSITORY.parent / "shared" / "upstream", Path("/work/shared/upstream"))
Object = dict[str, Any]
Difference = tuple[str, Any, Any]
ABSENT = "absent"


def manifest(pinned: Pinned) -> str:
    """The text of a pinned manifest; the test is skipped where it is not at hand."""
    for folder in FOLDERS:
        for file in sorted(folder.glob(f"*{pinned.version}.y*ml")):
            if hashlib.sha256(file.read_bytes()).hexdigest() == pinned.sha256:
                return file.read_text()
    pytest.skip(f"{pinned.title} is not in ../shared/upstream")


@cache
def objects(pinned: Pinned) -> list[Object]:
    return documents.load(manifest(pinned), pinned.title)


def pinned(project: str, version: str) -> Pinned:
    return next(item for item in PINNED if (item.project, item.version) == (project, version))


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Every leaf that differs, with its path; types are compared too. List items that have a name are found by it."""
    if isinstance(before, list) and isinstance(after, list):
        before, after = _named(before), _named(after)
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), f"{path}/{key}")
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def by_identity(items: list[Object]) -> Object:
    found = {documents.identity(item): item for item in items}
    assert len(found) == len(items)
    return found


def changes(before: list[Object], after: list[Object]) -> dict[str, tuple[Any, Any]]:
    """What differs between two lists of objects, by "Kind namespace/name/path"."""
    return {path.lstrip("/"): (old, new) for path, old, new in differences(by_identity(before), by_identity(after))}


def _named(items: list[Any]) -> Object:
    if items and all(isinstance(item, dict) and "name" in item for item in items):
        return {str(item["name"]): item for item in items}
    return {str(position): item for position, item in enumerate(items)}
