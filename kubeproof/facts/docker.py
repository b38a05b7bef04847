"""Facts about Docker on a host."""

import shlex

from pyinfra.api.facts import FactBase

from kubeproof.node import paths


class MissingImages(FactBase[list[str]]):
    """Those of ``images`` that Docker does not have; all of them where there is no Docker yet.

    Docker is asked for each, so that it decides which written forms of a reference mean the same image.
    """

    def command(self, images: list[str]) -> str:
        words = shlex.join(images)
        return f'for image in {words}; do docker image inspect "$image" >/dev/null 2>&1 || echo "$image"; done'

    @staticmethod
    def default() -> list[str]:
        return []

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


class RunsOldConfig(FactBase[bool]):
    """Whether Docker runs since before its configuration was last written.

    Asking the host instead of remembering what changed makes up for a deploy that was interrupted in between.
    """

    def command(self) -> str:
        return (
            "since=$(systemctl show --property ActiveEnterTimestamp --value docker.service 2>/dev/null); "
            f"written=$(stat -c %Y {paths.DOCKER_CONFIG}); "
            '[ -n "$since" ] && [ "$written" -gt "$(date -d "$since" +%s)" ] && echo old; true'
        )

    @staticmethod
    def default() -> bool:
        return False

    def process(self, output: list[str]) -> bool:
        return "old" in output
