"""Tests marked ``netns`` make network namespaces of their own, which needs root."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        skip = pytest.mark.skip(reason="needs root: makes network namespaces")
        for item in items:
            if item.get_closest_marker("netns"):
                item.add_marker(skip)
