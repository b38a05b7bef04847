"""YAML files taken apart into documents, with the line of what is no YAML. JSON is YAML too."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from kubeproof.policy.fields import Report

DEEPEST = 100
"""Levels within a document. No object has a quarter of that, and libyaml's recursion ends the process at some."""


@dataclass(frozen=True)
class Document:
    """One document, and where it is from (``x.yaml document 1``)."""

    place: str
    value: object


class _Loader(yaml.CSafeLoader):
    """As kubectl reads YAML: dates are texts. A name that is there twice is refused, as newer API servers do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(name or id(key))
        return dict(super().construct_mapping(node, deep))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def of_files(paths: Sequence[Path], report: Report) -> Iterator[Document]:
    """The documents of all files in order, without empty ones; what cannot be read goes into the report."""
    for path in paths:
        text = _text(path, report)
        if text is not None:
            yield from of_text(text, str(path), report)


def of_text(text: str, source: str, report: Report) -> Iterator[Document]:
    """The documents of a text; ``source`` is its name in messages."""
    if _is_too_deep(text):
        report.problems.append(f"{source}: is nested deeper than {DEEPEST} levels, as no object is; correct it")
        return
    count = 0
    try:
        for number, value in enumerate(yaml.load_all(text, _Loader), start=1):  # a safe loader
            if value is not None:
                count += 1
                yield Document(f"{source} document {number}", value)
    except yaml.YAMLError as error:
        report.problems.append(f"{source}{_line(error, text)}: is no YAML ({_reason(error)}); correct it")
    # A tag on a value that it does not fit (!!int x) raises whatever int() and others raise.
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        report.problems.append(f"{source}: is no YAML that can be read ({type(error).__name__}: {error}); correct it")
    else:
        if not count:
            report.problems.append(f"{source}: has no object in it; give a file with objects")


def _text(path: Path, report: Report) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        report.problems.append(f"{path}: there is no such file; correct its name")
    except UnicodeDecodeError:
        report.problems.append(f"{path}: is no text in UTF-8; give a YAML file")
    except OSError as error:
        report.problems.append(f"{path}: cannot be read ({error.strerror}); give a YAML file")
    return None


def _is_too_deep(text: str) -> bool:
    depth = 0
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > DEEPEST:
                return True
    except yaml.YAMLError:
        # Loading comes upon the same place, and says so after the documents before it.
        pass
    return False


def _line(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return f" line {mark.line + 1}"
    position = getattr(error, "position", None)
    return f" line {text.count(chr(10), 0, position) + 1}" if isinstance(position, int) else ""


def _reason(error: yaml.YAMLError) -> str:
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(reason).split())
