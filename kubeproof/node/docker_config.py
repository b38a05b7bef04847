"""Docker's configuration on a host: the deploy's keys, beside those of whoever had Docker there before. Pure."""

import json
from typing import Any

HOSTS_CHOICE = ("storage-driver",)
"""With another one Docker would lose sight of the images and containers that it has."""


def problem(text: str) -> str:
    """Why a configuration that is on a host cannot be added to; empty if it can, or if there is none."""
    try:
        _keys(text)
    except ValueError as error:
        return str(error)
    return ""


def merged(present: str, wanted: str) -> str:
    """``wanted`` with what only ``present`` has, both texts of JSON objects; just ``wanted`` if that is nothing.

    Raises ValueError if one of them is no JSON object.
    """
    has, wants = _keys(present), _keys(wanted)
    result = {**has, **wants, **{key: has[key] for key in HOSTS_CHOICE if key in has}}
    return wanted if result == wants else json.dumps(result, indent=2) + "\n"


def _keys(text: str) -> dict[str, Any]:
    keys = json.loads(text) if text.strip() else {}
    if not isinstance(keys, dict):
        raise ValueError("not a JSON object")
    return keys
