"""Draws docs/pictures/up.svg from the recorded output of a run; nothing of it is written by hand.

    ./inv up | tee docs/pictures/up.txt
    .venv/bin/python docs/pictures/record.py

A long run of lines of one kind is cut in its middle, and the number of lines that are left out stands there. The
colours are those that the program has on a terminal.
"""

import io
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

RECORDING = Path(__file__).with_name("up.txt")
PICTURE = RECORDING.with_suffix(".svg")
WIDTH = 106
KEPT = 5
"""Lines that stay at each end of a run that is cut."""
KINDS = (r" *[\d.]+s  (-->|\[\S+\] +Success|Loading:)", r"│")
"""How lines of pyinfra begin, and how rows of the proof do."""
COLOURS = {r"^ *[\d.]+s  ": "dim", "✓": "green", r"^\d+ of \d+ hold": "bold green", "^total.*": "bold"}
FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
"""Fonts that would be loaded from elsewhere."""


def shortened(lines: Iterable[str]) -> Iterator[str]:
    """The lines, without the middle of long runs of one kind. Pure."""
    for kind, run in groupby(lines, lambda line: next((kind for kind in KINDS if re.match(kind, line)), None)):
        block = list(run)
        if kind and len(block) > 2 * KEPT + 1:
            block[KEPT:-KEPT] = [f"        … {len(block) - 2 * KEPT} more lines of this kind …"]
        yield from block


def picture(recording: str) -> str:
    """The SVG. Pure."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    for line in ["$ ./inv up", *shortened(recording.splitlines())]:
        text = Text(line)
        for pattern, style in COLOURS.items():
            text.highlight_regex(pattern, style)
        console.print(text, overflow="crop", no_wrap=True)
    template = FONT_FACE.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="./inv up", theme=DIMMED_MONOKAI, code_format=template, unique_id="up")


if __name__ == "__main__":
    PICTURE.write_text(picture(RECORDING.read_text()))
