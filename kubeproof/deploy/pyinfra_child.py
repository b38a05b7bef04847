"""The pyinfra command for a parent process, which is told how it ends: `python -m kubeproof.deploy.pyinfra_child …`."""

import sys
from functools import partial

import click
import pyinfra_cli.main as command
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_state

from kubeproof.deploy.run_events import Listener, tell


def run() -> None:
    """Run the command with the arguments of this process; ends by SystemExit."""
    # Otherwise click prints its errors itself and exits.
    command.cli = partial(command.cli, standalone_mode=False)
    try:
        command.main()
    except click.ClickException as error:
        _tell_error(getattr(error, "exception", error))
        error.show()
        sys.exit(error.exit_code)
    finally:
        for listener in getattr(ctx_state.get(), "callback_handlers", ()):
            if isinstance(listener, Listener):
                listener.tell_end()


def _tell_error(error: Exception) -> None:
    if isinstance(error, DeployError):
        tell("refused", lines=[line for line in str(error).splitlines() if line])
    elif not _has_no_host_left():
        tell("broken", why=" ".join(f"{type(error).__name__}: {error}".split()))


def _has_no_host_left() -> bool:
    """Whether each host has failed, which is told with its reason."""
    state = ctx_state.get()
    return bool(getattr(state, "failed_hosts", ())) and not state.active_hosts


if __name__ == "__main__":
    run()
