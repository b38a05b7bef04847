"""What pyinfra 3.10 looks up anew for each operation and fact, though it never changes within a run.

Two thirds of the processor time of a plan go into it, whatever the number of hosts (`python -m tests.scale.hosts`).
"""

import functools
import sys
from copy import copy
from types import FrameType
from typing import Any, NamedTuple

from pyinfra.api import arguments, util
from pyinfra.api.host import HostData


class Place(NamedTuple):
    """What pyinfra reads of inspect's own type of that kind."""

    filename: str
    lineno: int


def remember() -> None:
    """Have the types of global arguments found once, and the rest with less work.

    An operation's line pyinfra finds by the whole stack with all that `inspect` knows of each frame, its source by
    default, and uses only files and lines. Global arguments it looks for in all data of a host, mostly in vain.
    """
    arguments.all_global_arguments = functools.cache(arguments.all_global_arguments)
    util.stack = frames  # type: ignore[assignment]
    util.getframeinfo = place  # type: ignore[assignment]
    HostData.__getattr__ = value  # type: ignore[method-assign]


def frames() -> list[tuple[FrameType]]:
    """As inspect.stack(), from the caller's own frame outwards, with nothing but the frames."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame:
        found.append((frame,))
        frame = frame.f_back
    return found


def place(frame: FrameType) -> Place:
    """As inspect.getframeinfo(), without the source."""
    return Place(frame.f_code.co_filename, frame.f_lineno)


def value(data: HostData, key: str) -> Any:
    """As HostData.__getattr__, without an exception for each group that has no such key."""
    for values in data.__dict__["datas"]:
        found = values() if callable(values) else values
        if key in found:
            return copy(found[key])
    raise AttributeError(f"Host `{data.host}` has no data `{key}`")
