"""A host's clock, and how far to trust the answer."""

import time

from pyinfra.api.host import Host

from kubeproof.deploy.operations.remote import try_run
from kubeproof.rules.before_deploy.inspection import Reading

COMMAND = ("date", "+%s.%N")


def read(host: Host) -> Reading | None:
    """The host's clock against this machine's; None if it cannot be read."""
    before = time.time()
    done, output = try_run(host, COMMAND)
    return between(before, output, time.time()) if done else None


def between(before: float, answer: str, after: float) -> Reading | None:
    """What an answer tells that was given at some moment between two readings of the own clock. Pure."""
    try:
        told = float(answer.strip())
    except ValueError:
        return None
    return Reading(ahead=told - (before + after) / 2, uncertain=(after - before) / 2)
