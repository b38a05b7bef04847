"""What templates ask for is what the code gives them, in every branch, whether or not a setting leads there."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined, meta, nodes

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables.runtimes import NAMES
from kubeproof.config.tables.version_traits import BORDERS, Era
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import templates
from kubeproof.node.joining import Credentials
from kubeproof.node.kubeadm_config import init_config, join_config
from kubeproof.node.runtime_config import config_files
from kubeproof.terminal.exits import REPOSITORY
from tests.unit.node.example import cluster

FILES = sorted(path.name for path in templates.TEMPLATES.iterdir())
CODE = sorted(path for folder in ("kubeproof", "lab") for path in (REPOSITORY / folder).rglob("*.py"))
OBJECTS = {"cluster": Cluster, "settings": Settings, "node": Node, "era": Era}
"""Variables that are objects of the project's own wherever a template has them."""
MADE = Credentials("abcdef.0123456789abcdef", "sha256:00")


def parsed(name: str) -> nodes.Template:
    return templates.environment.parse((templates.TEMPLATES / name).read_text())


def calls(path: Path) -> Iterator[ast.Call]:
    """Calls of the functions that render, by whatever name the module is imported."""
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Attribute):
            owner = found.func.value
            if isinstance(owner, ast.Name) and owner.id == "templates":
                yield found


@functools.cache
def given() -> dict[str, list[set[str]]]:
    """The variables that each template is given, by each call of `templates.render` in the code."""
    found: dict[str, list[set[str]]] = {}
    for call in (call for path in CODE for call in calls(path)):
        name = call.args[0]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "render":
            assert isinstance(name, ast.Constant), f"which template is this? {ast.unparse(call)}"
            found.setdefault(str(name.value), []).append({str(word.arg) for word in call.keywords})
    return found


@functools.cache
def read(text: str) -> list[dict[str, Any]]:
    """The objects of a text, which is the same for most versions."""
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]


def test_what_is_not_given_is_an_error() -> None:
    assert templates.environment.undefined is StrictUndefined


def test_nothing_else_renders() -> None:
    users = [str(path.relative_to(REPOSITORY)) for path in CODE if "jinja2" in path.read_text()]
    assert users == ["kubeproof/node/templates.py", "kubeproof/pages/page.py"]


@pytest.mark.parametrize("name", FILES)
def test_a_template_is_given_what_it_asks_for_and_no_more(name: str) -> None:
    wanted = meta.find_undeclared_variables(parsed(name))
    if name in given():
        assert given()[name] == [wanted] * len(given()[name])
    else:
        # Macros, and objects, which `templates.objects` renders.
        assert wanted <= {"cluster", "settings"}


@pytest.mark.parametrize("name", FILES)
def test_what_it_asks_of_an_object_is_there(name: str) -> None:
    for asked in parsed(name).find_all(nodes.Getattr):
        if isinstance(asked.node, nodes.Name) and asked.node.name in OBJECTS:
            kind: Any = OBJECTS[asked.node.name]
            known = {field.name for field in fields(kind)} | set(dir(kind))
            assert asked.attr in known, f"line {asked.lineno}: {asked.node.name}.{asked.attr}"


@pytest.mark.parametrize(("minor", "runtime"), list(product(BORDERS, NAMES)))
def test_configuration_of_every_version_and_runtime(minor: str, runtime: str) -> None:
    for dns, extra in product(("coredns", "dnsmasq"), ("", "3.9")):
        wanted = cluster(
            kubernetes_version=f"{minor}.1",
            container_runtime=runtime,
            cluster_dns=dns,
            etcd_image_tag=extra,
            pause_image_tag=extra,
            conntrack_max_per_core=0 if extra else None,
            http_proxy="http://192.0.2.9:3128" if extra else "",
        )
        for node in wanted.nodes:
            assert list(yaml.safe_load_all(join_config(wanted, node, MADE)))
        assert list(yaml.safe_load_all(init_config(wanted)))
        assert config_files(wanted, "", enforcing=bool(extra))


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".yaml.j2") and name not in given()))
@pytest.mark.parametrize("cni", NETWORKS)
def test_objects_of_every_cluster(name: str, cni: str) -> None:
    for minor, policy, alone in product(BORDERS, (None, False), (True, False)):
        wanted = cluster(
            kubernetes_version=f"{minor}.1",
            cni=cni,
            network_policy=policy,
            cluster_dns="dnsmasq",
            cluster_dns_image="dns:1",
        )
        wanted = replace(wanted, nodes=wanted.nodes[:1]) if alone else wanted
        documents = read(templates.objects(name, wanted))
        assert documents
        assert all({"apiVersion", "kind", "metadata"} <= set(item) for item in documents)
