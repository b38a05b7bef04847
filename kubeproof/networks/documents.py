"""Manifests as data: read and written so that Kubernetes sees the same values before and after. Pure.

What is written is quoted wherever two readers could disagree.
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from kubeproof.state import kubernetes_yaml
from kubeproof.terminal.errors import UserError

Object = dict[str, Any]

_STRING = "tag:yaml.org,2002:str"
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
"""Words that some YAML reader takes for something else than text."""


class _Dumper(yaml.SafeDumper):
    """Text in quotes unless it can be nothing but text; no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented below their keys."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    # Other breaks of lines than this one become it where they are not in quotes.
    style = None if plain else "|" if "\n" in value and not re.search("[\x85\u2028\u2029]", value) else '"'
    return dumper.represent_scalar(_STRING, value, style=style)


_Dumper.add_representer(str, _text)


def load(text: str, origin: str) -> list[Object]:
    """The objects of a manifest; Lists are taken apart. Raises UserError if it is no manifest."""
    report = kubernetes_yaml.Report()
    documents = list(kubernetes_yaml.of_text(text, origin, report))
    if report.problems:
        raise UserError(f"cni_manifest: {problem}" for problem in report.problems)
    objects: list[Object] = []
    for document in documents:
        if not isinstance(document.value, dict) or not isinstance(document.value.get("kind"), str):
            raise UserError(f"cni_manifest: {document.place}: is no object of Kubernetes, name a manifest")
        objects += _taken_apart(document.value)
    if not objects:
        raise UserError(f"cni_manifest: {origin}: holds no object, name a manifest")
    for item in objects:
        _require_identity(item, origin)
    return objects


def _taken_apart(document: Any) -> list[Any]:
    """The objects of a List, or of a list of one kind such as ConfigMapList, whose objects may leave out what it is."""
    if not isinstance(document, dict) or not str(document.get("kind", "")).endswith("List"):
        return [document]
    items = document.get("items") or []
    if not isinstance(items, list):
        return [items]
    kind = document["kind"].removesuffix("List")
    common = {"apiVersion": document.get("apiVersion"), "kind": kind} if kind else {}
    return [part for item in items for part in _taken_apart({**common, **item} if isinstance(item, dict) else item)]


def _require_identity(item: Any, origin: str) -> None:
    complete = (
        isinstance(item, dict)
        and isinstance(item.get("apiVersion"), str)
        and isinstance(item.get("kind"), str)
        and isinstance(item.get("metadata"), dict)
        and isinstance(item["metadata"].get("name"), str)
        and isinstance(item["metadata"].get("namespace"), str | None)
    )
    if not complete:
        raise UserError(f"cni_manifest: {origin}: has an object without apiVersion, kind or name, name a manifest")


def dump(objects: Sequence[Object]) -> str:
    """YAML documents of the objects."""
    written: str = yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, allow_unicode=True, width=1000
    )
    return written


def identity(item: Object) -> str:
    """Kind, namespace and name, such as "DaemonSet kube-system/canal"."""
    metadata = item["metadata"]
    return f"{item['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"
