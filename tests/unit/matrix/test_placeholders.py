import pytest

from kubeproof.matrix.placeholders import Values, fill
from tests.unit.matrix.fixed_world import ADDRESSES

VALUES: Values = {"one": "1", "other": "2", "many": ("a", "b"), "none": ()}


@pytest.mark.parametrize(
    ("data", "filled"),
    [
        ("plain", "plain"),
        (80, 80),
        (None, None),
        ("${one}/32", "1/32"),
        ("${one}-${other}-${one}", "1-2-1"),
        ({"a": ["${one}", {"b": "${other}"}]}, {"a": ["1", {"b": "2"}]}),
        ({"${one}": "key"}, {"${one}": "key"}),
        (["x", "${many}/32"], ["x", "a/32", "b/32"]),
        ([{"p": {"q": "${many}", "r": "${one}"}}], [{"p": {"q": "a", "r": "1"}}, {"p": {"q": "b", "r": "1"}}]),
        (["${none}", "x"], ["x"]),
        # The nearest list's item is repeated, not the outer one.
        ([{"p": ["${many}"]}], [{"p": ["a", "b"]}]),
        ([["${many}"]], [["a", "b"]]),
        (["${many} ${many}"], ["a a", "b b"]),
    ],
)
def test_data_is_filled(data: object, filled: object) -> None:
    assert fill(data, VALUES) == filled


def test_a_value_that_looks_like_a_placeholder_is_left_alone() -> None:
    assert fill("${one}", {"one": "${two}"}) == "${two}"


def test_the_original_stays_as_it_is() -> None:
    data = {"a": ["${one}"]}
    fill(data, VALUES)
    assert data == {"a": ["${one}"]}


def test_addresses_name_their_values() -> None:
    values = ADDRESSES.values()
    assert values["vteps"] == ("10.244.0.0", "10.244.1.0", "10.244.2.0")
    node = ADDRESSES.placement["x/b"]
    assert values["vtep_of:x/b"] == str(ADDRESSES.subnets[node].network_address)
    assert values["subnet_of:x/b"] == str(ADDRESSES.subnets[node])
    assert values["pod:x/b"] == str(ADDRESSES.pods["x/b"])
    assert (values["pod_cidr"], values["service_cidr"]) == ("10.244.0.0/16", "10.1.0.0/16")
    assert (values["node_network"], values["outside"]) == ("192.168.200.0/24", "192.168.200.1")
