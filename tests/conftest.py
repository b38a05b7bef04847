"""What all tests share."""

import signal


def pytest_configure() -> None:
    """Ctrl-C is tested; a shell that starts the tests in the background has them, and their children, ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
