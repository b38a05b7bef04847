"""Text as kubectl reads it. The values are what kubectl 1.20.2 made of them (`kubectl annotate --local -o json`)."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.policy import documents, explain
from kubeproof.policy.explain import Question
from kubeproof.policy.reading import read_files, read_what_can_be
from kubeproof.state.kubernetes_yaml import Report, of_text, plain
from kubeproof.terminal.errors import UserError

INTEGERS = {
    "1e003": 1000, "08": 8, "0o17": 15, "0O17": 15, "017": 15, "0x1F": 31, "0X1F": 31, "-0x1": -1, "0b11": 3, "0B11": 3,
    "-0b11": -3, "1_000": 1000, "1__0": 10, "5.": 5, "+5": 5, "-5": -5, "1E3": 1000, "1e+3": 1000, "1.5e3": 1500,
    "0.0": 0, "-0": 0, "00": 0, "1.0": 1, "00012": 10, "0123": 83, "0129": 129, "+0x1F": 31, "0x_1F": 31, "0_8": 8,
    ".5e3": 500, "-1_0": -10, "1.e3": 1000, "-017": -15, "18446744073709551615": 18446744073709551615,
}  # fmt: skip
FRACTIONS = {
    "1_000.5": 1000.5,
    ".5": 0.5,
    "+.5": 0.5,
    "-.5": -0.5,
    "09.5": 9.5,
    "1.10": 1.1,
    ".1_0": 0.1,
    "0.1e-2": 0.001,
}
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
    **dict.fromkeys(("~", "null", "Null", "NULL"), None),
}
TEXTS = (
    "yEs", "oN", "tRUE", "nULL", "1:30", "190:20:30", "1:30.5", "2024-01-01", "2001-12-14t21:59:43.10-05:00", "=", "_1",
    ".", "+", "0o8", "0o", "0x", "0xg", "12e", "1e400", "3.14.15", "1,000", "0b2", "Inf", "nan", ".e3", "e5", "1e5x",
)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "value"), [*INTEGERS.items(), *FRACTIONS.items(), *WORDS.items(), *((text, text) for text in TEXTS)]
)
def test_what_is_written_without_quotes_is_what_kubectl_takes_it_for(written: str, value: object) -> None:
    assert (plain(written), type(plain(written))) == (value, type(value))
    assert read(f"a: {written}\nb: '{written}'\nc: !!str {written}") == [{"a": value, "b": written, "c": written}]


def test_numbers_of_more_than_64_bits() -> None:
    assert plain("18446744073709551616") == 18446744073709551616
    assert plain("077777777777777777777777") == 7.777777777777777e22
    for text in ("0x" + "f" * 17, "9" * 5000, "0" + "7" * 5000):
        assert plain(text) == text
    (found,) = read(f'{{"a": {"9" * 5000}}}')
    assert found == {"a": "9" * 5000}


def test_what_json_has_no_number_for() -> None:
    assert [plain(text) for text in (".inf", "-.Inf", "+.INF")] == [math.inf, -math.inf, math.inf]
    assert str(plain(".NaN")) == "nan"


def read(text: str, *problems: str) -> list[object]:
    report = Report()
    found = [document.value for document in of_text(text, "f", report)]
    assert tuple(report.problems) == problems
    return found


AGREEING = [
    ("b: &b {x: 1, z: 2}\nv: {<<: *b, x: 3}", {"x": 3, "z": 2}),
    # Not as YAML's merge has it: go-yaml v2 takes them in their order.
    ("b: &b {x: 1, z: 2}\nv: {x: 3, <<: *b}", {"x": 1, "z": 2}),
    ("b: &b {x: 1}\nc: &c {x: 2, z: 3}\nv: {<<: [*b, *c]}", {"x": 1, "z": 3}),
    ("b: &b {x: 1}\nc: &c {x: 2, z: 3}\nv: {<<: *b, <<: *c}", {"x": 2, "z": 3}),
    ("b: &b {x: 1}\nv: {'<<': *b}", {"<<": {"x": 1}}),
    ("v: !vault x", "x"),
    ("v: !x 5", "5"),
    ("v: !Ref {a: b}", {"a": "b"}),
    ("v: !!python/object:os.system x", "x"),
    ("v: !!set {a, b}", {"a": None, "b": None}),
    ("v: !!omap [a: b]", [{"a": "b"}]),
    ("v: !!binary aGk=", "hi"),
    ("v: !!timestamp 2020-01-01", "2020-01-01"),
    ("v: !!int '5'", 5),
    ("v: !!float 5", 5),
    ("v:\ta", "a"),
    ("v: {a:b}", {"a:b": None}),
    ('v: {"a":1}', {"a": 1}),
    ("v: |\n  a\n  ---\n  b\n", "a\n---\nb\n"),
    ("v: a#b", "a#b"),
    ("v: “a”", "“a”"),
]


@pytest.mark.parametrize(("text", "value"), AGREEING)
def test_merges_tags_and_forms(text: str, value: object) -> None:
    (found,) = read(text)
    assert isinstance(found, dict)
    assert found["v"] == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v: {<<: 5}", "line 1: is no YAML (<< takes an object or a list of objects)"),
        ("v: {[a]: d}", "line 1: is no YAML (a list or an object is no name of a field)"),
        ("v: !!binary '*'", "line 1: is no YAML (!!binary is no base64)"),
        ("a: 1\n...\na: 2", "line 3: is no YAML (did not find expected <document start>)"),
        ("a: 1\n---\n\n---\nv: !!bool 5", "line 5: is no YAML (5 is no !!bool)"),
        (
            "kind: a\nkind: b",
            "line 2: is no YAML (kind is there twice; is a line --- missing before the second object?)",
        ),
    ],
)
def test_what_is_none(text: str, reason: str) -> None:
    read(text, f"f {reason}; correct it")


TWO = [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n---\na: 2",
        "---\na: 1\n---   \na: 2\n...\n",
        "# c\n---\na: 1\n...\n---\na: 2\n---\n",
        "%YAML 1.1\n---\na: 1\n---\n---\na: 2",
        '{"a": 1}\n{"a":\t2}',
        '{"a": 1.0}{"a": 2e0}',
        "{a: 1}\n---\n{a: 2}",
        "--- # first\na: 1\n---\n# more\na: 2",
    ],
)
def test_documents_apart(text: str) -> None:
    assert read(text) == TWO


def test_a_document_that_kubectl_overlooks_is_noted() -> None:
    report = Report()
    assert len(list(of_text("a: 1\n--- # second\na: 2", "f", report))) == 2
    assert report.notes == ["f line 2: kubectl overlooks a document after `---` that is not alone on its line"]


def test_a_document_that_cannot_be_read_does_not_hide_those_behind_it() -> None:
    assert (
        read(
            "a: 1\n---\nb: [\n---\na: 2\n---\n\tc",
            "f line 4: is no YAML (did not find expected node content); correct it",
            "f line 7: is no YAML (found character that cannot start any token); correct it",
        )
        == TWO
    )


@pytest.mark.parametrize(
    "content",
    [
        "a: ä\n".encode("utf-8-sig"),
        "a: ä\r\n".encode(),
        "a: ä\r".encode(),
        "a: ä\n".encode("utf-16"),
        b"\xfe\xff" + "a: ä\n".encode("utf-16-be"),
        b'{"a": "\\u00e4"}',
    ],
)
def test_encodings_and_line_ends(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    report = Report()
    assert [each.value for each in documents.of_files([tmp_path / "f"], report)] == [{"a": "ä"}]
    assert report == Report()


HELM = "{{- if .Values.on }}\nkind: NetworkPolicy\nmetadata: {name: p}\n{{- end }}\n"
TEMPLATES = [
    HELM,
    "kind: NetworkPolicy\nmetadata:\n  name: {{ .Release.Name }}\n",
    "kind: NetworkPolicy\nmetadata:\n  name: {{ name }}-x\n",
    "{% if on %}\nkind: Pod\n{% endif %}\n",
    "<% if on %>\nkind: Pod\n<% end %>\n",
    "kind: {{ kind }}\n---\nkind: {{ kind }}\n",
    'apiVersion: v1\nkind: Pod\nmetadata: {name: "{{ name }}"}\n',
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: '${NAMESPACE}'}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: $(NAME)}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: '${APP}'}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: $APP}}\n",
    "apiVersion: v1\nkind: '{{ kind }}'\nmetadata: {name: a}\n",
    "apiVersion: '{{ version }}'\nkind: NetworkPolicy\nmetadata: {name: a}\n",
]


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_template_is_told_as_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(UserError) as raised:
        read_files([tmp_path / "f"])
    (line,) = raised.value.problems
    assert "template" in line
    assert "helm template" in line


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("kustomization.yaml", "resources: [a.yaml]", "kubectl kustomize"),
        ("k.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization", "kubectl kustomize"),
        ("values.yaml", "networkPolicy: {enabled: true}", "helm template"),
        ("Chart.yaml", "apiVersion: v2\nname: x", "helm template"),
        ("t.yaml", "apiVersion: template.openshift.io/v1\nkind: Template\nobjects: []", "oc process"),
        ("p.yaml", "apiVersion: networking.k8s.io/v1\nkind: networkpolicy\nmetadata: {name: a}", "kind: NetworkPolicy"),
        ("p.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\nmetadata: {name: a}", "kind: NetworkPolicy"),
        ("p.yaml", "apiVersion: v1\nkind: networkPolicy\nmetadata: {name: a}", "kind: NetworkPolicy"),
        ("p.yaml", "apiVersion: v1\nkind: Pods\nmetadata: {name: a}", "kind: Pod"),
        ("p.yaml", "apiVersion: v1\nkind: list\nitems: []", "kind: List"),
        ("s.json", '{"apiVersion": "v1", "kind": "Status", "message": "Unauthorized"}', "(Unauthorized)"),
        ("t.json", '{"apiVersion": "meta.k8s.io/v1", "kind": "Table", "rows": []}', "-o yaml"),
    ],
)  # fmt: skip
def test_what_is_no_object_of_a_cluster_is_told_with_what_to_give(
    name: str, text: str, word: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as raised:
        read_files([tmp_path / name])
    (line,) = raised.value.problems
    assert word in line


def answered(content: bytes, folder: Path) -> None:
    """There is an answer, or each problem is one line that can be printed."""
    (folder / "f").write_bytes(content)
    objects, problems = read_what_can_be([folder / "f"])
    assert all(line and line.isprintable() and line.encode() for line in (*problems, *objects.notes))
    with contextlib.suppress(UserError):
        explain.explain(objects, Question("a", "b", "80", "TCP"))


SNIPPETS = st.sampled_from(
    ["apiVersion: v1\n", "kind: Pod\n", "kind: NetworkPolicy\n", "metadata: {name: a}\n", "---\n", "--- # c\n", "...\n",
     "spec: ", "- ", "{", "}", "[", "]", "&a ", "*a", "!!int ", "!x ", "<<: ", "{{ x }}", "%YAML 1.1\n", "\t", "\ufeff",
     "? ", ": ", "|\n", "'", '"', "\\ud800", "\ue000", "\x85", "\r", "1e400", "y", "=", "#", "a: b\n"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(SNIPPETS, max_size=12).map(lambda parts: "".join(parts).encode())))
def test_no_bytes_end_in_an_exception(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    answered(content, tmp_path_factory.mktemp("any"))


KINDS = (
    "Pod", "Namespace", "Node", "NetworkPolicy", "Service", "Deployment", "CronJob", "List", "PodList", "Template",
    "GlobalNetworkPolicy", "Kustomization", "x\ny", 5, None,
)  # fmt: skip
NAMES = st.sampled_from(
    ("metadata", "name", "namespace", "labels", "spec", "status", "items", "ports", "port", "podIP", "podIPs", "ip",
     "selector", "template", "clusterIP", "clusterIPs", "containers", "initContainers", "addresses", "podCIDRs", "uid",
     "loadBalancer", "ingress", "externalIPs", "jobTemplate", "type", "objects", "resources")
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["a", "10.96.0.1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
VERSIONS = st.sampled_from(("v1", "networking.k8s.io/v1", "apps/v1", "crd.projectcalico.org/v1", "", None, 1))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), VERSIONS, st.dictionaries(NAMES, VALUES, max_size=4)), max_size=3))
def test_no_object_ends_in_an_exception(tmp_path_factory: pytest.TempPathFactory, items: list[Any]) -> None:
    objects = [{"kind": kind, "apiVersion": version, **fields} for kind, version, fields in items]
    content = "".join(json.dumps(each) for each in objects).encode()
    answered(content, tmp_path_factory.mktemp("any"))
