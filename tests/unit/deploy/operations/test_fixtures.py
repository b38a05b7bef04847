"""Each folder in fixtures/ is named after an operation and holds its cases: facts, arguments, and commands wanted."""

from importlib import import_module
from pathlib import Path
from unittest import TestCase

FIXTURES = Path(__file__).resolve().parent / "fixtures"
make_operation_tests = import_module("pyinfra_testing.operations").make_operation_tests


def load_tests() -> dict[str, type[TestCase]]:
    return {
        f"Test_{folder.name.replace('.', '_')}": make_operation_tests(
            "kubeproof.deploy.operations", folder.name, folder
        )
        for folder in sorted(FIXTURES.iterdir())
    }


globals().update(load_tests())
