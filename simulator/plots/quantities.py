"""The keys of a study as quantities with units, for axes and headings."""

_UNITS = {
    "_mm_per_min": "mm/min",
    "_per_mm": "1/mm",
    "_mm": "mm",
    "_gy": "Gy",
    "_cc": "cc",
    "_deg": "degrees",
    "_percent": "%",
    "_min": "min",
    "_s": "s",
}
_WORDS = {"systematic": "systematic SD", "random": "random SD", "sd": "SD", "cv": "coefficient of variation"}
_NAMED = 2  # the last parts of a key say what it is


def quantity(key: str) -> str:
    """What a swept key is, with its unit: `uncertainty.setup.systematic_mm` is "setup systematic SD, mm".

    Names that a study gave to keys that change together stay as they are.
    """
    return ", ".join(filter(None, _words_and_unit(key)))


def quantity_at(key: str, value: float | str) -> str:
    """A swept key at a value: "setup systematic SD 1 mm"."""
    words, unit = _words_and_unit(key)
    return " ".join(filter(None, (words, value if isinstance(value, str) else f"{value:g}", unit)))


def _words_and_unit(key: str) -> tuple[str, str]:
    ending = next((ending for ending in _UNITS if key.endswith(ending)), "")
    if not ending and "." not in key:
        return key, ""
    parts = key.removesuffix(ending).split(".")[-_NAMED:]
    words = " ".join(part for part in parts if not part.isdigit()).replace("_", " ").split()
    return " ".join(_WORDS.get(word, word) for word in words), _UNITS.get(ending, "")
