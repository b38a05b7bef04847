"""Runs one podnet agent inside a network namespace, driven by JSON lines on standard input.

``{"nodes": [Node objects]}`` sets what the API server would tell, ``{"not_enforced": text or null}`` what the
enforcer of policies would; ``{"reconcile": true}`` does one round; ``{"run": true}`` starts the endless loop.
Each is answered by one JSON line; what the agent publishes is in the answer.
"""

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

from agents.podnet.agent import Agent
from agents.podnet.events import watch_kernel
from agents.podnet.files import Files
from agents.podnet.host import Host
from agents.podnet.nodes import Node, read_node
from agents.podnet.plan import PodnetError

from agents.podnet.__main__ import read_config  # isort: skip


class Worker:
    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.nodes: dict[str, Node] | None = None
        self.published: dict[str, str] = {}
        self.not_enforced: str | None = None
        files = Files(directory / "subnet.env", directory / "net.d", directory / "ready")
        self.agent = Agent(
            read_config(environment), lambda: self.nodes, self.publish, lambda: self.not_enforced, Host(), files
        )

    def publish(self, node: str, annotations: dict[str, str]) -> None:
        self.published = annotations

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        if "nodes" in command:
            self.nodes = {item["metadata"]["name"]: read_node(item) for item in command["nodes"]}
            self.agent.wake()
        if "not_enforced" in command:
            self.not_enforced = command["not_enforced"]
            self.agent.wake()
        reply: dict[str, Any] = {}
        if "reconcile" in command:
            try:
                reply["changes"] = self.agent.reconcile()
            except PodnetError as error:
                reply["problem"] = str(error)
        return {**reply, "published": self.published}

    def serve(self) -> bool:
        """Answer commands; True when told to run."""
        for line in sys.stdin:
            command = json.loads(line)
            print(json.dumps(self.answer(command)), flush=True)
            if "run" in command:
                return True
        return False

    def serve_until_end(self) -> None:
        self.serve()
        self.agent.stop()


def main() -> None:
    directory, environment = Path(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level=logging.INFO, filename=directory / "log", format="%(asctime)s %(message)s")
    worker = Worker(directory, environment)
    if worker.serve():
        watch_kernel(worker.agent.wake, lambda: None)
        threading.Thread(target=worker.serve_until_end, daemon=True).start()
        worker.agent.run()


if __name__ == "__main__":
    main()
