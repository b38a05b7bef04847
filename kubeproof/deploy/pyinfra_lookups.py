"""What pyinfra 3.10 looks up anew for each operation and fact, though it never changes within a run.

Two thirds of the processor time of a plan go into it, whatever the number of hosts (`python -m tests.scale.hosts`).
"""

import functools
import inspect

from pyinfra.api import arguments, util


def remember() -> None:
    """Have the types of global arguments found once, and no source read to tell an operation's line."""
    arguments.all_global_arguments = functools.cache(arguments.all_global_arguments)
    # By default (context=1) both read and parse the source file of each frame of the stack, and only its line is used.
    util.stack = functools.partial(inspect.stack, context=0)
    util.getframeinfo = functools.partial(inspect.getframeinfo, context=0)
