"""Each folder in fixtures/ is named after a fact and holds its cases: output of a host, and the value wanted."""

from importlib import import_module
from pathlib import Path
from unittest import TestCase

FIXTURES = Path(__file__).resolve().parent / "fixtures"
make_fact_tests = import_module("pyinfra_testing.facts").make_fact_tests


def load_tests() -> dict[str, type[TestCase]]:
    return {
        f"Test_{folder.name.replace('.', '_')}": make_fact_tests("kubeproof.deploy.facts", folder.name, folder)
        for folder in sorted(FIXTURES.iterdir())
    }


globals().update(load_tests())
