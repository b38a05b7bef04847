"""What a kernel can do, by trying it. A module may be built in, or loaded when it is wanted: lists of modules tell
nothing. Everything is tried in namespaces of its own, which end with the command."""

import shlex

from pyinfra.api.facts import FactBase

from kubeproof.deploy import shell_files
from kubeproof.deploy.facts import sections

SCRIPT = shell_files.read(__file__, "features.sh")


class Features(FactBase[dict[str, str]]):
    """What came of trying each feature: "ok" or what went wrong; a feature that could not be tried is missing."""

    def command(self, wanted: list[str]) -> str:
        return shlex.join(["sh", "-c", SCRIPT, "sh", *wanted])

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        return {name: lines[-1] for name, lines in sections.read(output).items() if lines}
