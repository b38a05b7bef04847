"""The API server takes every value that a schema allows, the empty ones too: held against one CRD with all JSON types.

Networks bring CRDs whose defaults are empty strings, and are told of by the API server what it thinks of these.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.paths import SSH_CONFIG
from lab.settings import load
from tests.lab.remote import KUBECTL, kubectl, ssh

pytestmark = pytest.mark.usefixtures("running_lab")

TYPES: dict[str, Any] = {
    "string": {"type": "string"},
    "strings": {"type": "array", "items": {"type": "string"}},
    "integer": {"type": "integer"},
    "integer64": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "array": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    "object": {"type": "object", "properties": {"a": {"type": "string"}}},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "either": {"x-kubernetes-int-or-string": True},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "enum": {"type": "string", "enum": ["", "a"]},
    "filled": {"type": "string", "minLength": 1},
    "time": {"type": "string", "format": "date-time"},
}
PROPERTIES: dict[str, Any] = {
    **TYPES,
    **{f"{name}OrNull": {**kind, "nullable": True} for name, kind in TYPES.items()},
    "defaultString": {"type": "string", "default": ""},
    "defaultStrings": {"type": "array", "items": {"type": "string"}, "default": [""]},
    "defaultInteger": {"type": "integer", "default": 0},
    "defaultNumber": {"type": "number", "default": 0.0},
    "defaultBoolean": {"type": "boolean", "default": False},
    "defaultArray": {"type": "array", "items": {"type": "string"}, "default": []},
    "defaultObject": {"type": "object", "default": {}, "properties": {"inner": {"type": "string", "default": ""}}},
    "defaultNull": {"type": "string", "nullable": True, "default": None},
}
DEFAULTS = {
    "defaultString": "",
    "defaultStrings": [""],
    "defaultInteger": 0,
    "defaultNumber": 0,
    "defaultBoolean": False,
    "defaultArray": [],
    "defaultObject": {"inner": ""},
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "everythings.kubeproof.invalid"},
    "spec": {
        "group": "kubeproof.invalid",
        "scope": "Cluster",
        "names": {"plural": "everythings", "singular": "everything", "kind": "Everything"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": PROPERTIES}},
                    }
                },
            }
        ],
    },
}
GIVEN = [
    ("string", ""),
    ("string", "a"),
    ("strings", [""]),
    ("strings", ["", "a", ""]),
    ("strings", []),
    ("integer", 0),
    ("integer", -1),
    ("integer64", 0),
    ("number", 0),
    ("number", 0.0),
    ("number", 0.5),
    ("boolean", False),
    ("boolean", True),
    ("array", []),
    ("array", [{}]),
    ("array", [{"a": ""}]),
    ("object", {}),
    ("object", {"a": ""}),
    ("map", {}),
    ("map", {"": ""}),
    ("map", {"a": ""}),
    ("either", 0),
    ("either", ""),
    ("free", {}),
    ("free", {"a": None, "b": "", "c": [0, "", None, {}, []]}),
    ("enum", ""),
]
REFUSED = [
    ("string", 0, "string"),
    ("string", False, "string"),
    ("string", [], "string"),
    ("string", {}, "string"),
    ("strings", [0], "string"),
    ("strings", "", "array"),
    ("integer", "", "integer"),
    ("integer", 0.5, "integer"),
    ("integer", False, "integer"),
    ("number", "", "number"),
    ("boolean", "", "boolean"),
    ("boolean", 0, "boolean"),
    ("array", {}, "array"),
    ("array", "", "array"),
    ("object", [], "object"),
    ("object", "", "object"),
    ("map", {"a": 0}, "string"),
    ("either", False, "integer,string"),
    ("enum", "b", "supported values"),
    ("filled", "", "at least 1 chars long"),
    ("time", "", "date-time"),
    ("strings", [None], "null"),
    ("strings", ["", None], "null"),
    ("array", [None], "null"),
]


@pytest.fixture(scope="module", autouse=True)
def definition(running_lab: object) -> Iterator[None]:
    del running_lab
    kubectl("apply -f -", stdin=json.dumps(CRD))
    try:
        kubectl(f"wait --for=condition=Established --timeout=30s crd/{CRD['metadata']['name']}")  # type: ignore[index]
        yield
    finally:
        kubectl(f"delete --ignore-not-found crd/{CRD['metadata']['name']}")  # type: ignore[index]


def create(spec: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Have the API server judge, default and prune an object of this spec; nothing is kept.

    kubectl's own validation is off, which drops no field and changes no null.
    """
    text = {"apiVersion": "kubeproof.invalid/v1", "kind": "Everything", "metadata": {"name": "x"}, "spec": spec}
    path = "/apis/kubeproof.invalid/v1/everythings?dryRun=All"
    return subprocess.run(
        ["ssh", "-F", SSH_CONFIG, load().nodes[0].name, f"{KUBECTL} create --raw '{path}' -f -"],
        input=json.dumps(text),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def accepted(spec: dict[str, Any]) -> dict[str, Any]:
    done = create(spec)
    assert done.returncode == 0, f"{spec}: {done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)["spec"]
    return found


@pytest.mark.parametrize(("name", "value"), GIVEN)
def test_what_a_type_allows_is_taken_as_it_is(name: str, value: object) -> None:
    assert accepted({name: value}) == {**DEFAULTS, name: value}


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_what_a_type_does_not_allow_is_refused_for_that_reason(name: str, value: object, reason: str) -> None:
    done = create({name: value})
    assert done.returncode != 0, done.stdout
    assert f"spec.{name}" in done.stderr
    assert reason in done.stderr


def test_null_is_kept_where_it_is_allowed() -> None:
    spec = {f"{name}OrNull": None for name in TYPES if name not in ("either", "enum")}
    assert accepted(spec) == {**DEFAULTS, **spec}


def test_empty_values_are_taken_where_null_is_allowed_too() -> None:
    spec = {f"{name}OrNull": value for name, value in GIVEN if name != "free"}
    assert accepted(spec) == {**DEFAULTS, **spec}


def test_null_is_dropped_where_it_is_not_allowed() -> None:
    """As if nothing had been given (documentation of CustomResourceDefinitions, "Defaulting and Nullable")."""
    spec = {name: None for name in TYPES if name != "either"}
    assert accepted(spec) == DEFAULTS
    assert accepted({"map": {"a": None, "b": ""}}) == {**DEFAULTS, "map": {"b": ""}}


def test_null_gives_way_to_a_default_and_other_values_do_not() -> None:
    assert accepted(dict.fromkeys(DEFAULTS)) == DEFAULTS
    others = {"defaultString": "a", "defaultInteger": 1, "defaultBoolean": True, "defaultArray": ["a"]}
    assert accepted(others) == {**DEFAULTS, **others}


def test_unknown_fields_are_dropped_but_where_they_are_kept() -> None:
    spec = {"unknown": "", "object": {"a": "", "b": ""}, "array": [{"b": 0}], "free": {"b": ""}}
    assert accepted(spec) == {**DEFAULTS, "object": {"a": ""}, "array": [{}], "free": {"b": ""}}


def test_an_object_is_kept_with_its_empty_values() -> None:
    spec = {"string": "", "strings": [""], "integer": 0, "boolean": False, "map": {"a": ""}}
    text = {"apiVersion": "kubeproof.invalid/v1", "kind": "Everything", "metadata": {"name": "kept"}, "spec": spec}
    kubectl("apply -f -", stdin=json.dumps(text))
    assert json.loads(kubectl("get everything kept -o json"))["spec"] == {**DEFAULTS, **spec}
    # etcd, and kubectl's patch of what is there already.
    spec["string"], spec["integer"] = "a", 1
    kubectl("apply -f -", stdin=json.dumps(text))
    spec["string"], spec["integer"] = "", 0
    kubectl("apply -f -", stdin=json.dumps(text))
    assert json.loads(kubectl("get everything kept -o json"))["spec"] == {**DEFAULTS, **spec}


def test_built_in_kinds_keep_empty_values() -> None:
    text = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "empty"}, "data": {"a": "", "b": "x"}}
    assert json.loads(kubectl("create --dry-run=server -o json -f -", stdin=json.dumps(text)))["data"] == text["data"]
    assert ssh(load().nodes[0].name, f"{KUBECTL} get configmap empty --ignore-not-found") == ""
