"""`server` answers on TCP, UDP and SCTP until the pod is stopped; `client` answers requests on standard input;
`idle` waits, for pods that only ever send."""

import signal
import sys

from agents.probe.client import serve
from agents.probe.server import Server
from agents.probe.wire import Identity

USAGE = "usage: python3 -m agents.probe server|client|idle"


def main(words: list[str]) -> int:
    # As the first process of its container it gets no default action for SIGTERM; without this, stopping takes longer.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    match words:
        case ["server"]:
            with Server(Identity.from_environment()) as running:
                running.serve()
        case ["client"]:
            serve(sys.stdin, sys.stdout)
        case ["idle"]:
            while True:
                signal.pause()
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
