"""Files that cannot be taken: one line for each problem, with file, document, object, path and what to do."""

import time
from pathlib import Path

import pytest

from kubeproof.policy.reading import read_documents, read_files
from kubeproof.terminal.errors import UserError

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: x}\n"
BLOCK = "spec.ingress[0].from[0].ipBlock"
PORT = "spec.ingress[0].ports[0]"
EXPRESSION = "spec.podSelector.matchExpressions[0]"
LABEL_VALUE = "is no label value; use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
LABEL_KEY = "is no label key; write it as [domain/]name, the name of at most 63 letters, digits, '-', '_' and '.'"
PORT_NAME = "is no port name; use at most 15 lower-case letters, digits and single hyphens, with at least one letter"
NAME = (
    "is no name; use at most 253 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends "
    "(RFC 1123)"
)
LABEL_NAME = (
    "is no name; use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends (RFC 1123)"
)
OBJECT = "is no object; write fields as `name: value` below it"
LIST = "is no list; begin each item with `- `"
NO_PEER = "names no peer; write podSelector: {} for all pods of the namespace, or leave the list out for all"


def problems(text: str, *, policies_only: bool = False, name: str = "f.yaml") -> list[str]:
    """The lines for a file with this text, its name without folder."""
    file = Path(name)
    file.write_text(text)
    with pytest.raises(UserError) as raised:
        read_files([file], policies_only=policies_only)
    return list(raised.value.problems)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def from_peer(peer: str) -> str:
    return f"{{ingress: [{{from: [{peer}]}}]}}"


def with_port(port: str) -> str:
    return f"{{ingress: [{{ports: [{port}]}}]}}"


def expressed(expression: str) -> str:
    return f"{{podSelector: {{matchExpressions: [{expression}]}}}}"


def block(text: str) -> str:
    return from_peer(f"{{ipBlock: {text}}}")


OPERATORS = "In, NotIn, Exists, DoesNotExist"
SPECS = [
    ("text", f'spec: "text" {OBJECT}'),
    ("[]", f"spec: a list {OBJECT}"),
    ("{podselector: {}}", "spec.podselector: there is no such field; use podSelector, policyTypes, ingress, egress"),
    ("{ingress: {}}", f"spec.ingress: an object {LIST}"),
    ("{ingress: [5]}", f"spec.ingress[0]: 5 {OBJECT}"),
    ("{ingress: [null]}", "spec.ingress[0]: is empty; write {} for a rule that allows everything"),
    ("{ingress: [{to: []}]}", "spec.ingress[0].to: there is no such field; use from, ports"),
    ("{egress: [{from: []}]}", "spec.egress[0].from: there is no such field; use to, ports"),
    ("{policyTypes: Ingress}", f'spec.policyTypes: "Ingress" {LIST}'),
    ("{policyTypes: [ingress]}", 'spec.policyTypes[0]: "ingress" is no policy type; use Ingress or Egress'),
    (
        "{policyTypes: [Ingress, Egress, Egress]}",
        "spec.policyTypes: has more than two items; use Ingress, Egress or both",
    ),
    (from_peer("{}"), f"spec.ingress[0].from[0]: {NO_PEER}"),
    (from_peer("{podSelector: null}"), f"spec.ingress[0].from[0]: {NO_PEER}"),
    (from_peer("null"), f"spec.ingress[0].from[0]: {NO_PEER}"),
    (from_peer("any"), f'spec.ingress[0].from[0]: "any" {OBJECT}'),
    ("{ingress: [{from: {podSelector: {}}}]}", f"spec.ingress[0].from: an object {LIST}"),
    (
        from_peer("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"),
        "spec.ingress[0].from[0]: has ipBlock beside a selector; make them two items of the list",
    ),
    (
        from_peer("{podselector: {}, podSelector: {}}"),
        "spec.ingress[0].from[0].podselector: there is no such field; use podSelector, namespaceSelector, ipBlock",
    ),
    (block("{}"), f"{BLOCK}.cidr: is missing; write a network as a.b.c.d/n"),
    (block("10.0.0.0/8"), f'{BLOCK}: "10.0.0.0/8" {OBJECT}'),
    (block("{cidr: 10.0.0/8}"), f'{BLOCK}.cidr: "10.0.0/8" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10.0.0.0}"), f'{BLOCK}.cidr: "10.0.0.0" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10.0.0.0/33}"), f'{BLOCK}.cidr: "10.0.0.0/33" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10.0.0.0/255.0.0.0}"), f'{BLOCK}.cidr: "10.0.0.0/255.0.0.0" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10.0.0.0/08}"), f'{BLOCK}.cidr: "10.0.0.0/08" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 'fe80::%1/64'}"), f'{BLOCK}.cidr: "fe80::%1/64" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: ''}"), f'{BLOCK}.cidr: "" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10}"), f"{BLOCK}.cidr: 10 is no text; put it in quotes"),
    (
        block("{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}"),
        f'{BLOCK}.except[0]: "11.0.0.0/16" is not a part of 10.0.0.0/8; use a smaller network within it',
    ),
    (
        block("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}"),
        f'{BLOCK}.except[0]: "10.0.0.0/8" is not a part of 10.0.0.0/8; use a smaller network within it',
    ),
    (
        block("{cidr: 10.0.0.0/8, except: ['2001:db8::/32']}"),
        f'{BLOCK}.except[0]: "2001:db8::/32" is not a part of 10.0.0.0/8; use a smaller network within it',
    ),
    (block("{cidr: 10.0.0.0/8, except: [x]}"), f'{BLOCK}.except[0]: "x" is no CIDR; write it as a.b.c.d/n'),
    (block("{cidr: 10.0.0.0/8, except: 10.1.0.0/16}"), f'{BLOCK}.except: "10.1.0.0/16" {LIST}'),
    (with_port("80"), f"{PORT}: 80 {OBJECT}"),
    (with_port("null"), f"{PORT}: is empty; write {{}} for all TCP ports"),
    (with_port("{port: 0}"), f"{PORT}.port: 0 is out of range; use 1 to 65535"),
    (with_port("{port: 65536}"), f"{PORT}.port: 65536 is out of range; use 1 to 65535"),
    (with_port("{port: true}"), f"{PORT}.port: true is no whole number; use 1 to 65535, without quotes"),
    (with_port("{port: 80.5}"), f"{PORT}.port: 80.5 is no whole number; use 1 to 65535, without quotes"),
    (
        with_port("{port: '80'}"),
        f'{PORT}.port: "80" is a name, and names have a letter in them; write the number without quotes',
    ),
    (with_port("{port: HTTP}"), f'{PORT}.port: "HTTP" {PORT_NAME}'),
    (with_port("{port: a--b}"), f'{PORT}.port: "a--b" {PORT_NAME}'),
    (with_port("{port: -a}"), f'{PORT}.port: "-a" {PORT_NAME}'),
    (with_port("{port: ''}"), f'{PORT}.port: "" {PORT_NAME}'),
    (with_port("{port: sixteen-letters-}"), f'{PORT}.port: "sixteen-letters-" {PORT_NAME}'),
    (with_port("{protocol: tcp}"), f'{PORT}.protocol: "tcp" is no protocol of the API; use TCP, UDP, SCTP'),
    (with_port("{protocol: ICMP}"), f'{PORT}.protocol: "ICMP" is no protocol of the API; use TCP, UDP, SCTP'),
    (
        with_port("{endPort: 90}"),
        f"{PORT}.endPort: needs a port that is a number; write port: with the first of the range",
    ),
    (
        with_port("{port: web, endPort: 90}"),
        f"{PORT}.endPort: needs a port that is a number; write port: with the first of the range",
    ),
    (
        with_port("{port: 80, endPort: 79}"),
        f"{PORT}.endPort: 79 is less than port 80; write the last port of the range",
    ),
    (with_port("{port: 80, endPort: 70000}"), f"{PORT}.endPort: 70000 is out of range; use 1 to 65535"),
    (with_port("{port: 80, endport: 81}"), f"{PORT}.endport: there is no such field; use protocol, port, endPort"),
    ("{podSelector: {pod: a}}", "spec.podSelector.pod: there is no such field; use matchLabels, matchExpressions"),
    ("{podSelector: [a]}", f"spec.podSelector: a list {OBJECT}"),
    ("{podSelector: {matchLabels: [a]}}", f"spec.podSelector.matchLabels: a list {OBJECT}"),
    ("{podSelector: {matchLabels: {a: true}}}", "spec.podSelector.matchLabels.a: true is no text; put it in quotes"),
    ("{podSelector: {matchLabels: {a: 1}}}", "spec.podSelector.matchLabels.a: 1 is no text; put it in quotes"),
    ("{podSelector: {matchLabels: {1: a}}}", "spec.podSelector.matchLabels: the name 1 is no text; put it in quotes"),
    ("{podSelector: {matchLabels: {a: b c}}}", f'spec.podSelector.matchLabels.a: "b c" {LABEL_VALUE}'),
    ("{podSelector: {matchLabels: {a/b/c: d}}}", f'spec.podSelector.matchLabels: "a/b/c" {LABEL_KEY}'),
    ("{podSelector: {matchLabels: {/b: d}}}", f'spec.podSelector.matchLabels: "/b" {LABEL_KEY}'),
    ("{podSelector: {matchLabels: {A_/b: d}}}", f'spec.podSelector.matchLabels: "A_/b" {LABEL_KEY}'),
    (
        f"{{podSelector: {{matchLabels: {{a: {'b' * 64}}}}}}}",
        f'spec.podSelector.matchLabels.a: "{"b" * 59}… {LABEL_VALUE}',
    ),
    (expressed("{operator: Exists}"), f"{EXPRESSION}.key: is missing; write the label's key"),
    (expressed("{key: a}"), f"{EXPRESSION}.operator: is missing; use {OPERATORS}"),
    (expressed("{key: a, operator: in, values: [b]}"), f'{EXPRESSION}.operator: "in" is no operator; use {OPERATORS}'),
    (expressed("{key: a, operator: Equals}"), f'{EXPRESSION}.operator: "Equals" is no operator; use {OPERATORS}'),
    (
        expressed("{key: a, operator: In}"),
        f"{EXPRESSION}.values: is missing or empty, which In cannot do with; list at least one",
    ),
    (
        expressed("{key: a, operator: NotIn, values: []}"),
        f"{EXPRESSION}.values: is missing or empty, which NotIn cannot do with; list at least one",
    ),
    (
        expressed("{key: a, operator: Exists, values: [b]}"),
        f"{EXPRESSION}.values: is given, which Exists cannot use; remove it",
    ),
    (
        expressed("{key: a, operator: DoesNotExist, values: [b]}"),
        f"{EXPRESSION}.values: is given, which DoesNotExist cannot use; remove it",
    ),
    (expressed("{key: a, operator: In, values: b}"), f'{EXPRESSION}.values: "b" {LIST}'),
    (expressed("{key: a, operator: In, values: [1]}"), f"{EXPRESSION}.values[0]: 1 is no text; put it in quotes"),
    (expressed("{key: a, operator: In, values: [-]}"), f'{EXPRESSION}.values[0]: "-" {LABEL_VALUE}'),
    (expressed("{key: '', operator: Exists}"), f'{EXPRESSION}.key: "" {LABEL_KEY}'),
    (
        expressed("{key: a, operator: Exists, value: b}"),
        f"{EXPRESSION}.value: there is no such field; use key, operator, values",
    ),
    (expressed("text"), f'{EXPRESSION}: "text" {OBJECT}'),
]


@pytest.mark.parametrize(("spec", "line"), SPECS)
def test_a_policy_that_the_api_server_would_refuse(spec: str, line: str) -> None:
    found = problems(f"{HEAD}spec: {spec}\n", policies_only=True)
    assert found == [f"f.yaml document 1 (NetworkPolicy x/p): {line}"]


V1 = "apiVersion: networking.k8s.io/v1"
DOCUMENTS = [
    ("text", f'f.yaml document 1: "text" {OBJECT}'),
    ("- a\n- b\n", f"f.yaml document 1: a list {OBJECT}"),
    ("{}", "f.yaml document 1: is empty; remove it"),
    ("a: b", "f.yaml document 1: has no kind; give a Kubernetes object with apiVersion, kind and metadata"),
    ("kind: 5", "f.yaml document 1: kind: 5 is no text; put it in quotes"),
    ("", "f.yaml: has no object in it; give a file with objects"),
    ("---\n# nothing\n---\n", "f.yaml: has no object in it; give a file with objects"),
    (
        "kind: NetworkPolicy\nmetadata: {name: p}",
        f"f.yaml document 1 (NetworkPolicy default/p): apiVersion: is missing; write {V1}",
    ),
    (
        "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}",
        'f.yaml document 1 (NetworkPolicy default/p): apiVersion: "extensions/v1beta1" is not that of a NetworkPolicy'
        " here; use networking.k8s.io/v1",
    ),
    (
        f"{V1}\nkind: NetworkPolicy",
        "f.yaml document 1 (NetworkPolicy): metadata: is missing; write metadata with a name below it",
    ),
    (f"{V1}\nkind: NetworkPolicy\nmetadata: p", f'f.yaml document 1 (NetworkPolicy): metadata: "p" {OBJECT}'),
    (
        f"{V1}\nkind: NetworkPolicy\nmetadata: {{namespace: x}}",
        "f.yaml document 1 (NetworkPolicy): metadata.name: is missing; write the object's name",
    ),
    (
        f"{V1}\nkind: NetworkPolicy\nmetadata: {{name: P}}",
        f'f.yaml document 1 (NetworkPolicy default/P): metadata.name: "P" {NAME}',
    ),
    (
        f"{V1}\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: a.b}}",
        f'f.yaml document 1 (NetworkPolicy a.b/p): metadata.namespace: "a.b" {LABEL_NAME}',
    ),
    (
        f"{V1}\nkind: NetworkPolicy\nmetadata: {{name: 5}}",
        "f.yaml document 1 (NetworkPolicy): metadata.name: 5 is no text; put it in quotes",
    ),
    (
        f"{HEAD}specs: {{}}",
        "f.yaml document 1 (NetworkPolicy x/p): specs: there is no such field; "
        "use apiVersion, kind, metadata, spec, status",
    ),
    (
        f"{HEAD}---\n{HEAD}",
        "f.yaml document 2 (NetworkPolicy x/p): is there twice, first in f.yaml document 1; remove one of them",
    ),
    (
        "kind: List\napiVersion: v1\nitems: [{kind: List, apiVersion: v1}]",
        "f.yaml document 1 items[0] (List): is a List in a List; take its items out of it",
    ),
    ("kind: List\napiVersion: v1\nitems: [null]", "f.yaml document 1 items[0]: is empty; remove it"),
    ("kind: List\napiVersion: v1\nitems: {}", f"f.yaml document 1: items: an object {LIST}"),
    ("a: [\n", "f.yaml line 2: is no YAML (did not find expected node content); correct it"),
    ("a: 1\nb:\n\tc: 2", "f.yaml line 3: is no YAML (found character that cannot start any token); correct it"),
    ("a: 1\na: 2", "f.yaml line 2: is no YAML (a is there twice); correct it"),
    ("a: b\nc: \x01", "f.yaml line 2: is no YAML (control characters are not allowed); correct it"),
    (
        "a: !!int b",
        "f.yaml line 1: is no YAML (b is no !!int); correct it",
    ),
    ("[" * 100_000, "f.yaml: is nested deeper than 100 levels, as no object is; correct it"),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: 10.244.1}",
        'f.yaml document 1 (Pod default/a): status.podIP: "10.244.1" is no IPv4 address; write it as a.b.c.d',
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: 'yes'}",
        'f.yaml document 1 (Pod default/a): spec.hostNetwork: "yes" is neither true nor false; '
        "write one of them, without quotes",
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{name: web}]}]}",
        "f.yaml document 1 (Pod default/a): spec.containers[0].ports[0].containerPort: is missing; "
        "write a number, 1 to 65535",
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: text",
        f'f.yaml document 1 (Pod default/a): spec: "text" {OBJECT}',
    ),
    (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {b: 1}}",
        "f.yaml document 1 (Namespace a): metadata.labels.b: 1 is no text; put it in quotes",
    ),
    (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}",
        f'f.yaml document 1 (Namespace a.b): metadata.name: "a.b" {LABEL_NAME}',
    ),
    (
        "apiVersion: v1\nkind: Node\nmetadata: {name: m}\nspec: {podCIDR: 10.244}",
        "f.yaml document 1 (Node m): spec.podCIDR: 10.244 is no text; put it in quotes",
    ),
]


@pytest.mark.parametrize(("text", "line"), DOCUMENTS)
def test_a_document_that_cannot_be_taken(text: str, line: str) -> None:
    assert problems(text) == [line]


@pytest.mark.parametrize("kind", ["Pod", "Namespace", "Deployment", "GlobalNetworkPolicy"])
def test_where_only_policies_are_expected_another_kind_is_refused(kind: str) -> None:
    found = problems(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}", policies_only=True)
    assert len(found) == 1
    assert found[0].endswith(f"is a {kind}, where only NetworkPolicies are expected; remove it")


def test_all_problems_of_all_files_are_told_together() -> None:
    Path("a.yaml").write_text(
        f"{HEAD}spec: {{ingress: [{{ports: [{{port: 0}}, {{protocol: X}}]}}], egress: [5]}}\n---\n5\n"
    )
    Path("b.yaml").write_text(f"{HEAD}spec: {{}}\n---\na: [\n")
    Path("c.yaml").write_bytes(b"\xff\xfe\x00")
    Path("d").mkdir()
    with pytest.raises(UserError) as raised:
        read_files([Path(name) for name in ("a.yaml", "b.yaml", "c.yaml", "d", "e.yaml")])
    subject = "a.yaml document 1 (NetworkPolicy x/p): "
    assert list(raised.value.problems) == [
        f"{subject}spec.ingress[0].ports[0].port: 0 is out of range; use 1 to 65535",
        f'{subject}spec.ingress[0].ports[1].protocol: "X" is no protocol of the API; use TCP, UDP, SCTP',
        f"{subject}spec.egress[0]: 5 {OBJECT}",
        f"a.yaml document 2: 5 {OBJECT}",
        "b.yaml document 1 (NetworkPolicy x/p): is there twice, first in a.yaml document 1; remove one of them",
        "b.yaml line 7: is no YAML (did not find expected node content); correct it",
        "c.yaml: is no text in UTF-8; give a YAML file",
        "d: cannot be read (Is a directory); give a YAML file",
        "e.yaml: there is no such file; correct its name",
    ]


def test_a_value_of_many_lines_is_shown_in_one() -> None:
    found = problems(f'{HEAD}spec: {{podSelector: {{matchLabels: {{a: "b\\nc"}}}}}}')
    assert len(found) == 1
    assert found[0].count("\n") == 0
    assert '"b\\nc"' in found[0]


def test_values_that_repeat_themselves_by_reference_take_no_time() -> None:
    bomb = "\n".join(["a: &a0 [x, x]", *(f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(30))])
    started = time.monotonic()
    assert problems(f"{bomb}\nspec: *a30\n") == [
        "f.yaml document 1: has no kind; give a Kubernetes object with apiVersion, kind and metadata"
    ]
    assert problems("&a {kind: List, apiVersion: v1, items: [*a]}") == [
        "f.yaml document 1 items[0] (List): is a List in a List; take its items out of it"
    ]
    assert time.monotonic() - started < 5


def test_documents_that_are_parsed_already_are_checked_alike() -> None:
    with pytest.raises(UserError, match=r"case 7 document 2: 5 is no object; write"):
        read_documents([None, 5], "case 7")
