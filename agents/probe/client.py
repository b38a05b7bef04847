"""The client's side of a channel: a line of JSON in, a line of JSON out, until the input ends.

``{"do": "hello"}``   who this is, and why it cannot send SCTP, if it cannot
``{"do": "state"}``   what the pod network on this node says is in force (agents/podnet writes the file)
``{"do": "probe", "probes": [{"id", "protocol", "address", "port", "timeout"}, …]}``   all of them at once
"""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any, TextIO

from agents.probe import sctp
from agents.probe.attempts import Probe, run
from agents.probe.wire import Identity

STATE = Path("/run/podnet/policies.json")
"""Host path that probe pods with hostNetwork mount."""

Json = dict[str, Any]


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer each line; what is no request is answered with a problem, so that a channel never falls silent."""
    # readline, not iteration: that would read ahead, and wait for more.
    while line := requests.readline():
        print(json.dumps(answer(line), separators=(",", ":")), file=answers, flush=True)


def answer(line: str) -> Json:
    try:
        request = json.loads(line)
        match request["do"]:
            case "hello":
                return hello()
            case "state":
                return state()
            case "probe":
                return probe(request["probes"])
            case other:
                return {"problem": f"no such request: {other!r}"}
    except (ValueError, KeyError, TypeError) as error:
        return {"problem": f"not a request ({type(error).__name__}: {error})"}


def hello() -> Json:
    """Who this is; ``sctp`` is empty, or why SCTP cannot be sent from here."""
    return {"pod": Identity.from_environment().pod, "sctp": _sctp_refused(), "python": sys.version.split()[0]}


def _sctp_refused() -> str:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, sctp.PROTOCOL).close()
    except OSError as error:
        return f"raw sockets are refused ({error.strerror})"
    return ""


def state(file: Path = STATE) -> Json:
    """``state`` is what the file holds, or None where there is none."""
    try:
        return {"state": json.loads(file.read_text())}
    except FileNotFoundError:
        return {"state": None}
    except (OSError, ValueError) as error:
        return {"problem": f"{file}: cannot be read ({error})"}


def probe(requested: list[Json]) -> Json:
    """The results, in the order of the probes."""
    probes = [Probe(**item) for item in requested]
    return {"results": [vars(result) for result in asyncio.run(run(probes))]}
