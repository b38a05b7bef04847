"""What is put in the place of pyinfra's own lookups tells the same."""

import inspect
from typing import Any

import pytest
from pyinfra.api.host import HostData

from kubeproof.deploy import pyinfra_lookups

DATA: tuple[Any, ...] = ({"_sudo": True}, lambda: {"called": 1}, {"_sudo": False, "names": ["a"]})


def test_the_stack_is_that_of_inspect() -> None:
    own, theirs = pyinfra_lookups.frames(), inspect.stack(context=0)
    assert [frame for (frame,) in own] == [info.frame for info in theirs]


def test_the_place_of_each_frame_is_that_of_inspect() -> None:
    for (frame,) in pyinfra_lookups.frames():
        own, told = (find(frame) for find in (pyinfra_lookups.place, inspect.getframeinfo))
        assert (own.filename, own.lineno) == (told.filename, told.lineno)


@pytest.mark.parametrize("key", ["_sudo", "called", "names", "set_by_hand"])
def test_data_of_a_host_is_what_pyinfra_finds(key: str) -> None:
    data = HostData("a", *DATA)  # type: ignore[arg-type]
    data.set_by_hand = 2
    own = pyinfra_lookups.value(data, key)
    assert own == HostData.__getattr__(data, key)
    assert not isinstance(own, list) or own is not DATA[2][key]


def test_what_a_host_has_no_data_of_is_said_as_pyinfra_does() -> None:
    data = HostData("a", *DATA)  # type: ignore[arg-type]
    said = []
    for find in (pyinfra_lookups.value, HostData.__getattr__):
        with pytest.raises(AttributeError) as missing:
            find(data, "port")
        said.append(str(missing.value))
    assert said[0] == said[1]
