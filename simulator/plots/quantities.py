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
    stem, unit = key, ""
    for ending, known in _UNITS.items():
        if key.endswith(ending):
            stem, unit = key.removesuffix(ending), f", {known}"
            break
    if not unit and "." not in key:
        return key
    words = " ".join(part for part in stem.split(".")[-_NAMED:] if not part.isdigit()).replace("_", " ").split()
    return " ".join(_WORDS.get(word, word) for word in words) + unit
