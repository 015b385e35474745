"""How objects introduce themselves at a prompt and in a notebook: their kind, and a few lines."""

from abc import ABC, abstractmethod
from html import escape
from textwrap import shorten

_LONGEST = 160


class Readable(ABC):
    """Prints as a few lines, in a notebook as a table."""

    @abstractmethod
    def summary(self) -> dict[str, str]:
        """The lines, by what each says."""

    def _lines(self) -> dict[str, str]:
        return {what: shorten(text, _LONGEST, placeholder=" ...") for what, text in self.summary().items()}

    def __repr__(self) -> str:
        return "\n".join([type(self).__name__, *(f"  {what}: {text}" for what, text in self._lines().items())])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(what)}</th><td>{escape(text)}</td></tr>" for what, text in self._lines().items())
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"
