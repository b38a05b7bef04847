"""What podnet says of the policies in force, and the names of nft tables."""

import json

import pytest

from kubeproof.state.errors import ParseError
from kubeproof.state.policies import PoliciesInForce, parse_nft_tables, parse_policies


def test_policies_in_force() -> None:
    text = json.dumps(
        {"enforced": True, "policies": {"a/b": "12"}, "inexpressible": {"a/b": "why"}, "rules": 3, "pods": {}}
    )
    assert parse_policies(text) == PoliciesInForce(True, {"a/b": "12"}, {"a/b": "why"})
    assert parse_policies('{"enforced": false}') == PoliciesInForce(False)


@pytest.mark.parametrize("text", ["", "[]", '{"enforced": "yes"}', '{"enforced": true, "policies": {"a/b": 12}}'])
def test_what_is_no_such_file_is_told(text: str) -> None:
    with pytest.raises(ParseError, match="policies"):
        parse_policies(text)


def test_tables() -> None:
    assert parse_nft_tables("table ip filter\ntable inet podnet\n") == ("ip filter", "inet podnet")
    assert parse_nft_tables("") == ()
