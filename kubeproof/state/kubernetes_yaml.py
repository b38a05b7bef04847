"""YAML and JSON taken apart into documents as kubectl reads them, with the line of what is neither. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import yaml

TEMPLATE_ADVICE = "give what it becomes (of helm template, kustomize build, envsubst …)"
_TEMPLATE_MARK = re.compile(r"\{\{|\{%|<%|\$[{(A-Za-z_]|\(@")
"""What begins an expression of Helm, Jinja, ERB, envsubst, kustomize and ytt."""
DEEPEST = 100
"""Levels within a document. No object has a quarter of that, and libyaml's recursion ends the process at some."""
_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **{form: True for word in ("y", "yes", "true", "on") for form in (word, word.capitalize(), word.upper())},
    **{form: False for word in ("n", "no", "false", "off") for form in (word, word.capitalize(), word.upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)(.*)\n?", re.MULTILINE)
_NO_CONTENT = re.compile(r"(?:[ \t\r]*(?:#.*)?\n|%.*\n)*[ \t\r]*(?:#.*)?")
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
"""What makes a template no YAML wherever it stands."""
_NO_SPACE = re.compile(r"\S")
_LONGEST = 70
"""Characters of an integer of 64 bits, to whatever base; Python refuses to read those of thousands."""
_WHOLE = 1e21
"""Below it Go writes a number that is whole without a point, so that it is an integer to the API server."""


@dataclass
class Report:
    """What was found: problems make the input unusable; notes are worth knowing."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """One document, and where it is from (``x.yaml document 1``)."""

    place: str
    value: object


@dataclass(frozen=True)
class _Part:
    """What stands between two separators. ``before`` is the number of lines of the file above it."""

    text: str
    before: int


class _Loader(yaml.CSafeLoader):
    """Composes nodes whose tags are those that kubectl's YAML (go-yaml v2) gives them."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is not yaml.ScalarNode:
            return _TAG + ("map" if kind is yaml.MappingNode else "seq")
        if not implicit[0]:
            return f"{_TAG}str"
        return f"{_TAG}merge" if value == "<<" else _TAG + _type(plain(value))


def template_mark(text: str) -> re.Match[str] | None:
    """What shows that a text is a template, as one looks before it is rendered."""
    return _TEMPLATE_MARK.search(text)


def one_line(text: str) -> str:
    """A text that can be printed as one line, whatever objects hold: a line break in a name is shown as \\n."""
    plain = text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return plain.encode("utf-8", "backslashreplace").decode()


def plain(written: str) -> object:
    """What kubectl takes text without quotes for. Dates and numbers to the base of 60 are texts.

    The rules are those of gopkg.in/yaml.v2, resolve.go (v2.4.0), and sigs.k8s.io/yaml.
    """
    if written in _WORDS:
        return _WORDS[written]
    if match := _NO_NUMBER.fullmatch(written):
        return float(f"{match[1]}inf" if match[2] else "nan")
    if written[0] not in "+-.0123456789":
        return written
    digits = written.replace("_", "")
    if _INTEGER.fullmatch(digits) and len(digits) <= _LONGEST:
        # Without `o` it is to the base of 8 all the same.
        number = int(re.sub(r"^([-+]?)0([0-7])", r"\g<1>0o\2", digits), 0)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits):
        return whole(digits) if abs(float(digits)) != float("inf") else written
    return written


def whole(digits: str) -> int | float:
    """A number with a point or an exponent; an integer where Go writes it as one."""
    number = float(digits)
    return int(number) if number.is_integer() and abs(number) < _WHOLE else number


def of_text(text: str, source: str, report: Report) -> Iterator[Document]:
    """The documents of a text; ``source`` is its name in messages. One that cannot be read does not hide the others."""
    number, found, problems = 0, False, len(report.problems)
    if text.lstrip().startswith("{") and (values := _json(text)) is not None:
        for number, value in enumerate(values, start=1):
            yield Document(f"{source} document {number}", value)
        return
    for part in _parts(text, source, report):
        try:
            for value in _values(part.text):
                number += 1
                if value is not None:
                    found = True
                    yield Document(f"{source} document {number}", value)
        except yaml.YAMLError as error:
            number += 1
            report.problems.append(f"{source}{_refusal(error, part)}")
            if _TEMPLATE.search(part.text):
                return
    if not found and len(report.problems) == problems:
        report.problems.append(f"{source}: has no object in it; give a file with objects")


def _json(text: str) -> list[object] | None:
    """The objects of JSON, one after the other; None if it is none, and perhaps YAML."""
    if _is_too_deep(text):
        return None
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_float=whole)
    values, position = list[object](), 0
    try:
        while match := _NO_SPACE.search(text, position):
            value, position = decoder.raw_decode(text, match.start())
            values.append(value)
    except (ValueError, RecursionError):
        return None
    return values


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that is there twice, which YAML's reader then says with its line."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _parts(text: str, source: str, report: Report) -> Iterator[_Part]:
    """The documents' texts, each with the separator before it. Directives and comments belong to the first one."""
    starts = list(_SEPARATOR.finditer(text))
    if starts and _NO_CONTENT.fullmatch(text, 0, starts[0].start()):
        bounds = [0, *(match.start() for match in starts[1:]), len(text)]
    else:
        bounds = [0, *(match.start() for match in starts), len(text)]
    for match in starts:
        if match[1].strip() and not _NO_CONTENT.fullmatch(text, 0, match.start()):
            line = text.count("\n", 0, match.start()) + 1
            report.notes.append(
                f"{source} line {line}: kubectl overlooks a document after `---` that is not alone on its line"
            )
    for start, end in pairwise(bounds):
        yield _Part(text[start:end], text.count("\n", 0, start))


def _values(text: str) -> Iterator[object]:
    """What the documents of a text stand for. Raises YAMLError."""
    if _is_too_deep(text):
        raise yaml.MarkedYAMLError(problem=_TOO_DEEP)
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            yield _value(node, {})
    finally:
        loader.dispose()


def _value(node: yaml.Node, known: dict[int, object]) -> object:
    """What a node stands for, as kubectl has it. What is referred to several times is one value. Raises YAMLError."""
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.SequenceNode):
        items = known[id(node)] = list[object]()
        items.extend(_value(item, known) for item in node.value)
        return items
    fields = known[id(node)] = dict[object, object]()
    seen = set[object]()
    for key, item in node.value:
        if key.tag == f"{_TAG}merge":
            _merge(fields, item, known)
            continue
        name = _value(key, known)
        if isinstance(name, list | dict):
            raise yaml.MarkedYAMLError(problem="a list or an object is no name of a field", problem_mark=key.start_mark)
        if name in seen:
            twice = f"{key.value} is there twice"
            hint = "; is a line --- missing before the second object?" if name in ("apiVersion", "kind") else ""
            raise yaml.MarkedYAMLError(problem=f"{twice}{hint}", problem_mark=key.start_mark)
        seen.add(name)
        fields[name] = _value(item, known)
    return fields


def _merge(fields: dict[object, object], node: yaml.Node, known: dict[int, object]) -> None:
    """`<<`: overwrites what stands above it; of several the first one counts."""
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for part in reversed(parts):
        value = _value(part, known)
        if not isinstance(value, dict):
            raise yaml.MarkedYAMLError(problem="<< takes an object or a list of objects", problem_mark=part.start_mark)
        fields.update(value)


def _scalar(node: yaml.ScalarNode) -> object:
    """A tag that nobody knows (!vault) leaves a text."""
    name = node.tag.removeprefix(_TAG)
    if name == "binary":
        try:
            return base64.b64decode("".join(node.value.split()), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise yaml.MarkedYAMLError(problem="!!binary is no base64", problem_mark=node.start_mark) from None
    if name not in ("null", "bool", "int", "float"):
        return str(node.value)
    value = plain(node.value)
    if _type(value) == name or (name == "float" and _type(value) == "int"):
        return value
    raise yaml.MarkedYAMLError(problem=f"{node.value} is no !!{name}", problem_mark=node.start_mark)


def _type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float"}.get(type(value), "str")


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


_TOO_DEEP = f"is nested deeper than {DEEPEST} levels, as no object is"


def _refusal(error: yaml.YAMLError, part: _Part) -> str:
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if reason == _TOO_DEEP:
        return f": {_TOO_DEEP}; correct it"
    line = _line(error, part)
    mark = _TEMPLATE.search(part.text) or template_mark("".join(part.text.splitlines()[line or 0 :][:1]))
    advice = f"holds {mark[0]}, as a template does before it is rendered: {TEMPLATE_ADVICE}" if mark else "correct it"
    where = "" if line is None else f" line {part.before + line + 1}"
    return f"{where}: is no YAML ({one_line(' '.join(str(reason).split()))}); {advice}"


def _line(error: yaml.YAMLError, part: _Part) -> int | None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line)
    position = getattr(error, "position", None)
    return part.text.count("\n", 0, position) if isinstance(position, int) else None
