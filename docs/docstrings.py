"""How docstrings are read for the site: entries stand as `name : meaning`, types are in the signature."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Parameters|Raises|Returns|Yields)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\S[^:\n]*?) : (.*)$", re.MULTILINE)


def _as_numpydoc(section: re.Match[str], returned: str) -> str:
    """A section whose entries have their meaning on a line of its own; what has no name is of the type returned."""
    title, body = section.groups()
    if title in ("Returns", "Yields"):
        named = _ENTRY.sub(r"\1 :\n    \2", body)
        body = named if named != body else f"{returned}\n    {' '.join(body.split())}\n\n"
    else:
        body = _ENTRY.sub(r"\1\n    \2", body)
    return f"{title}\n{'-' * len(title)}\n{body}"


class HouseDocstrings(griffe.Extension):
    """Rewrites docstrings into numpydoc's own layout before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Every module, class, function and attribute."""
        if obj.docstring:
            returned = str(getattr(obj, "returns", None) or "result")
            obj.docstring.value = _SECTION.sub(lambda section: _as_numpydoc(section, returned), obj.docstring.value)
