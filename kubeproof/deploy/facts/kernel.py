"""Facts about swap and kernel settings."""

from pyinfra.api.facts import FactBase

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.lines import Lines
from kubeproof.state.hostfiles import parse_sysctls


class Swaps(Lines):
    """Devices and files in use as swap (proc(5), /proc/swaps)."""

    def command(self) -> str:
        return "tail -n +2 /proc/swaps | awk '{print $1}'"


class FstabSwaps(Lines):
    """Lines of fstab(5) that turn swap on at boot, or with ``disabled`` those that the deploy has disabled."""

    def command(self, disabled: bool = False) -> str:
        if disabled:
            return f"grep '^#kubeproof# ' {paths.FSTAB} || true"
        return f"awk '$1 !~ /^#/ && $3 == \"swap\"' {paths.FSTAB} 2>/dev/null || true"


class Sysctls(FactBase[dict[str, str]]):
    """Values of the kernel settings ``names``; those that the kernel does not have are left out."""

    def command(self, names: list[str]) -> str:
        return f"for name in {' '.join(names)}; do sysctl $name 2>/dev/null; done; true"

    default = dict

    def process(self, output: list[str]) -> dict[str, str]:
        return parse_sysctls("\n".join(output))
