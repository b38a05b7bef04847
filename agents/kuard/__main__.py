"""Serve HTTP on port 8080 until the pod is stopped."""

import signal
import sys

from agents.kuard.server import PORT, Identity, make_server


def main() -> None:
    # As the first process of its container it gets no default action for SIGTERM; without this, stopping takes 30 s.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with make_server(Identity.from_environment(), port=PORT) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
