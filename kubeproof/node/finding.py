"""What is said of something that stands in a deploy's way, always in the same form. Pure."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found, what it breaks, and the command or change that repairs it."""

    name: str
    """What the finding is ignored by, in lower case with hyphens, such as "clock-skew"."""
    host: str
    """Name of the host; several are separated by ", "; empty where it concerns the settings."""
    found: str
    breaks: str
    remedy: str
    severity: Severity = "error"

    def __str__(self) -> str:
        where = f"{self.name} {self.host}".rstrip()
        return f"[{self.severity}] {where}: {self.found}, {self.breaks}; {self.remedy}"
