"""What reaches a terminal or a pipe: without control characters, in its encoding, as wide as it is."""

import codecs
import os
import sys
import warnings
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulator.ground.files import printable

_PIPE_WIDTH = 120
_SIGNS = {
    "“": b'"',
    "”": b'"',
    "–": b"-",
    "−": b"-",
    "±": b"+-",
    "×": b"x",
    "·": b".",
    "²": b"2",
    "°": b" deg",
    "…": b"...",
}


def make_ready() -> None:
    """Let no letter that the encoding lacks end a command, and no warning of a library carry control characters.

    Where the encoding is none of Unicode, signs of our own are written in ASCII: a reader that takes another encoding
    for granted stumbles over no quotation mark.
    """
    if not os.environ.get("COLUMNS", "").strip("0").isdigit():  # in none at all nothing is shown
        os.environ.pop("COLUMNS", None)
    os.environ["MPLBACKEND"] = "agg"  # figures are files, whatever a user's notebook shows them with
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            is_unicode = codecs.lookup(stream.encoding).name.startswith("utf")
            stream.reconfigure(**({"errors": "replace"} if is_unicode else _plain(stream.encoding)))
    warnings.formatwarning = lambda message, *_, **__: f"note: {printable(str(message))}\n"


def _plain(encoding: str) -> dict[str, str]:
    """Settings of a stream that writes letters in its encoding and our signs in ASCII."""

    def encoded(error: UnicodeError) -> tuple[bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        rest = error.object[error.start : error.end]
        return b"".join(_SIGNS.get(sign) or sign.encode(encoding, "replace") for sign in rest), error.end

    codecs.register_error(f"plain {encoding}", encoded)
    return {"encoding": "ascii", "errors": f"plain {encoding}"}


def console() -> Console:
    """Standard output: as wide as the terminal or COLUMNS say, else wide enough for tables in a file."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH)


def tell(text: str) -> None:
    """A sentence on standard output."""
    console().print(printable(text), markup=False, highlight=False)


def say(text: str) -> None:
    """A line on standard error."""
    print(printable(text), file=sys.stderr)


def text_table(title: str, columns: tuple[str, ...] | list[str], rows: Iterable[Iterable[object]]) -> Table:
    """A plain table."""
    table = Table(title=_cell(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(_cell(column), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> str:
    return escape(printable(str(value)))
