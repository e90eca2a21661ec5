"""Lines in columns, printed as they are; smaller tables are drawn by rich."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from etl_cli.runtime.display.figures import WIDTH_IN_A_PIPE

_LEAST = 20
"""Letters of the last column that are shown however narrow the terminal is."""

_GAP = "  "


def print_columns(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), colours: Mapping[str, str]
) -> None:
    """Print rows of texts below their names, as many letters of the last column as the terminal has room for.

    `right` names the columns of figures; `colours` gives the codes of ISO 6429 for texts that have one (`1;31`).
    """
    is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_IN_A_PIPE
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)][:-1]
    room = max(_LEAST, width - sum(widths) - len(_GAP) * len(widths))
    justify = [str.rjust if name in right else str.ljust for name in names]

    def line(cells: Sequence[str], codes: Mapping[str, str]) -> str:
        shown = []
        for cell, size, place in zip(cells, widths, justify, strict=False):
            text = place(cell, size)
            shown.append(f"\033[{codes[cell]}m{text}\033[0m" if is_coloured and cell in codes else text)
        last = cells[-1] if len(cells[-1]) <= room else f"{cells[-1][: room - 1]}…"
        return _GAP.join([*shown, last]).rstrip()

    bold = dict.fromkeys(names, "1")
    sys.stdout.write("".join(f"{text}\n" for text in (line(names, bold), *(line(row, colours) for row in rows))))
