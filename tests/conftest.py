"""What all tests share."""

import signal

from gevent import monkey


def pytest_configure() -> None:
    """Ctrl-C is tested; a shell that starts the tests in the background has them, and their children, ignore it.

    And threads stay threads: importing pyinfra_cli replaces them by greenlets for the whole process, and one that
    enters a network namespace would then take all others along. What needs pyinfra's command line runs it as a process.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    monkey.patch_all = lambda *_args, **_options: None
