"""The pyinfra command against hosts that do not exist, in a process of its own for each run (see `prepared`).

A run's world is a file that holds an ordered list of rules; the first that fits a command on a host answers it, any
other command succeeds and prints nothing. A rule can require or set flags of its host, so that commands change what
later ones see. Everything that is run is appended to the log.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra_cli.main import main

RULES: dict[str, Any] = {}
FLAGS: set[str] = set()
"""As "host flag"; a flag whose name begins with @ belongs to no host."""
LOG = Path()


class ScriptedConnector(FakeConnector):
    """Answers from the rules."""

    def connect(self) -> None:
        if self.host.name in RULES["down"]:
            raise ConnectError("no route to host")

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        text = command if isinstance(command, str) else command.get_raw_value()
        rule = self._rule_for(text)
        with LOG.open("a") as log:
            log.write(json.dumps({"host": self.host.name, "command": text, "stdin": arguments.get("_stdin")}) + "\n")
        FLAGS.update(self._named(flag) for flag in rule.get("sets", ()))
        lines = [OutputLine("stdout", line) for line in rule.get("stdout", "").splitlines()]
        lines += [OutputLine("stderr", line) for line in rule.get("stderr", "").splitlines()]
        return rule.get("success", True), CommandOutput(lines)

    def put_file(self, filename_or_io: Any, remote_filename: str, *_: Any, **__: Any) -> bool:
        content = filename_or_io.getvalue() if hasattr(filename_or_io, "getvalue") else Path(filename_or_io).read_text()
        with LOG.open("a") as log:
            log.write(json.dumps({"host": self.host.name, "file": remote_filename, "stdin": content}) + "\n")
        return True

    def _named(self, flag: str) -> str:
        return flag if flag.startswith("@") else f"{self.host.name} {flag}"

    def _rule_for(self, text: str) -> dict[str, Any]:
        for rule in _rules_of(self.host.name):
            if re.search(rule["match"], text) and all(self._named(flag) in FLAGS for flag in rule.get("when", ())):
                return rule
        return {}


@functools.cache
def _rules_of(host: str) -> list[dict[str, Any]]:
    return [rule for rule in RULES["rules"] if rule.get("host", host) == host]


def run(words: Sequence[str]) -> NoReturn:
    """Run pyinfra's command line with a world, a log and its arguments, and end this process with its exit code."""
    global LOG  # one run for each process
    world, LOG = map(Path, words[:2])
    RULES.update(json.loads(world.read_text()))
    FLAGS.update(RULES["flags"])
    # SHA-256 of an archive that stands for cri-dockerd's.
    checksum = os.environ.get("FAKE_CLUSTER_CRI_DOCKERD")
    sums = {"amd64": checksum, "arm64": checksum} if checksum else {}
    with (
        patch("pyinfra.api.inventory.get_execution_connectors", lambda: {"ssh": ScriptedConnector}),
        patch.dict("kubeproof.config.tables.cri_dockerd.SHA256", sums),
        # Names are not looked up either: for lack of an answer that takes five seconds and more.
        patch("socket.create_connection", side_effect=OSError("no network")),
    ):
        sys.argv[1:] = words[2:]
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: taking apart what has been forked takes long.
    os._exit(code)
