"""Servers that tests ask, each in a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from typing import TypeVar

Server = TypeVar("Server", bound=BaseServer)
POLL_SECONDS = 0.01
"""How often a server looks whether it shall end; by default twice a second, for which every test would wait."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Have a server answer, and close it in the end."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
