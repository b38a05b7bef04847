"""A client that asks the demo's httpd through its Service all the time, from a pod, and what it did not get."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kubeproof.config.settings import Settings
from lab.wait import wait_until
from tests.lab.remote import kubectl

POD = "fault-client"
SERVICE = "httpd-svc"
REQUESTS_PER_SECOND = 10
CONNECT_SECONDS = 1.0
"""A packet that is lost on the way to a connection is sent again after a second: one lost packet is one failure."""
ANSWER_SECONDS = 3.0
"""For the server, which has what processor time everything else leaves it."""
START_SECONDS = 60

PROGRAM = """
import http.client, sys, threading, time

address, port = sys.argv[1], int(sys.argv[2])
interval, connect_timeout, answer_timeout = map(float, sys.argv[3:])

def ask(started):
    connection = http.client.HTTPConnection(address, port, timeout=connect_timeout)
    doing = "connect"
    try:
        connection.connect()
        doing = "answer"
        connection.sock.settimeout(answer_timeout)
        connection.request("GET", "/")
        status = connection.getresponse().status
        said = "ok" if status == 200 else f"status-{status}"
    except Exception as error:
        said = f"{doing}-{type(error).__name__}"
    finally:
        connection.close()
    print(f"{started:.3f} {said}", flush=True)

following = time.time()
while True:
    threading.Thread(target=ask, args=(time.time(),), daemon=True).start()
    following = max(following + interval, time.time())
    time.sleep(max(0.0, following - time.time()))
"""
"""Requests are begun at their time whatever became of those before, each by a connection of its own: what fails in a
second does not make that second's traffic less."""


@dataclass(frozen=True)
class Request:
    """One request: when it was begun (seconds since the epoch; nodes and this machine share a clock), what came."""

    started: float
    said: str

    @property
    def failed(self) -> bool:
        return self.said != "ok"


@dataclass(frozen=True)
class Loss:
    """The requests of a time: how many, how many of them failed and how, seconds from the first failure to the last."""

    requests: int
    failed: int
    reasons: dict[str, int]
    seconds: float

    @property
    def share(self) -> float:
        return self.failed / self.requests if self.requests else 1.0


@contextmanager
def running(settings: Settings, node: str) -> Iterator[None]:
    """The client runs on ``node`` until the end of the block; it gets answers before the block begins."""
    delete()
    kubectl("apply -f -", stdin=json.dumps(_pod(settings, node)))
    try:
        wait_until(
            lambda: any(not item.failed for item in requests()), seconds=START_SECONDS, what="the client's start"
        )
        yield
    finally:
        delete()


def delete() -> None:
    kubectl(f"delete pod {POD} --ignore-not-found --grace-period=0 --force 2>&1")


def requests() -> list[Request]:
    """All requests so far, in the order of their beginning."""
    lines = kubectl(f"logs {POD} || true").splitlines()
    rows = (line.split() for line in lines)
    return sorted((Request(float(row[0]), row[1]) for row in rows if len(row) == 2), key=lambda item: item.started)


def loss(since: float, until: float) -> Loss:
    """What was lost of the requests that were begun between two times (seconds since the epoch)."""
    # A request may still wait for its answer: its line is written when it has one, or none.
    ended = until + CONNECT_SECONDS + ANSWER_SECONDS
    wait_until(lambda: time.time() > ended, seconds=10, what="the last requests to end")
    begun = [item for item in requests() if since <= item.started <= until]
    failed = [item for item in begun if item.failed]
    seconds = failed[-1].started - failed[0].started if failed else 0.0
    return Loss(len(begun), len(failed), dict(Counter(item.said for item in failed)), seconds)


def _pod(settings: Settings, node: str) -> dict[str, object]:
    address, port = kubectl(f"get service {SERVICE} -o jsonpath='{{.spec.clusterIP}} {{.spec.ports[0].port}}'").split()
    words = [address, port, *map(str, (1 / REQUESTS_PER_SECOND, CONNECT_SECONDS, ANSWER_SECONDS))]
    container = {
        "name": "client",
        "image": settings.httpd_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", PROGRAM, *words],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }
