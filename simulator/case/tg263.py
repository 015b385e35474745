"""Standard names of organs (AAPM TG-263, doi:10.1016/j.ijrobp.2017.12.013) for names that clinics give them."""

import re

_SIDES = {"L": {"l", "lt", "left", "li", "links"}, "R": {"r", "rt", "right", "re", "rechts"}}
_BOTH = {"both", "total", "bilateral", "bilat", "combined", "sum"}
_FILLERS = {"organ", "oar", "the", "of"}
_PAIRED = {
    "Lung": {"lung", "lungs", "lunge"},
    "Kidney": {"kidney", "kidneys", "niere"},
    "Femur_Head": {
        "femurhead",
        "femoralhead",
        "headfemur",
        "headfemoral",
        "femhead",
        "femoralheads",
        "hip",
        "hueftkopf",
    },
    "SacralPlex": {"sacralplex", "sacralplexus", "plexussacral", "plexussacralis"},
    "BrachialPlex": {"brachialplex", "brachialplexus", "plexusbrachial", "plexusbrachialis"},
    "Breast": {"breast", "mamma"},
    "Parotid": {"parotid", "parotis"},
}
_PLURALS = {"Lung": "Lungs", "Kidney": "Kidneys"}
_SINGLE = {
    "SpinalCord": {"spinalcord", "cord", "cordspinal", "myelon", "rueckenmark", "rückenmark", "medullaspinalis"},
    "CaudaEquina": {"caudaequina", "cauda"},
    "Esophagus": {"esophagus", "oesophagus", "ösophagus", "speiseröhre"},
    "Heart": {"heart", "herz"},
    "Trachea": {"trachea"},
    "BronchialTree_Prox": {
        "bronchialtreeprox", "proxbronchialtree", "proximalbronchialtree", "bronchialtreeproximal", "bronchialtree", "pbt",
    },
    "GreatVes": {"greatves", "greatvessels", "greatvessel", "vesselsgreat"},
    "ChestWall": {"chestwall", "wallchest", "thoraxwand"},
    "Liver": {"liver", "leber"},
    "Stomach": {"stomach", "magen"},
    "Duodenum": {"duodenum"},
    "Bowel_Small": {"bowelsmall", "smallbowel", "smallintestine", "dünndarm", "duenndarm"},
    "Bowel_Large": {"bowellarge", "largebowel", "largeintestine", "dickdarm"},
    "Bladder": {"bladder", "urinarybladder", "bladderurinary", "blase", "harnblase"},
    "Rectum": {"rectum", "rektum"},
    "Spleen": {"spleen", "milz"},
    "Pancreas": {"pancreas", "pankreas"},
    "Brain": {"brain", "gehirn", "hirn"},
    "Brainstem": {"brainstem", "stembrain", "hirnstamm"},
    "Prostate": {"prostate", "prostata"},
    "Skin": {"skin", "haut"},
}  # fmt: skip


def standard_name(name: str) -> str | None:
    """The TG-263 name of an organ, None for what is no plain organ (a target, a planning aid, an organ less a target).

    Words, their order and case, blanks and the spelling of the side do not matter; any further word does.
    """
    organ, side, is_both = _organ(name)
    if organ in _PAIRED:
        return f"{organ}_{side}" if side else _PLURALS.get(organ) if is_both else None
    return None if side else organ


def is_organ(name: str) -> bool:
    """Whether a name is that of an organ, with or without its side."""
    return _organ(name)[0] is not None


def _organ(name: str) -> tuple[str | None, str, bool]:
    """Organ, side and whether both sides are meant."""
    spaced = re.sub(r"(?<=[a-zäöü])(?=[A-Z])", " ", name)
    words = [w for w in re.split(r"[\W_]+", spaced.lower()) if w and w not in _FILLERS]
    sides = [side for side, spellings in _SIDES.items() for w in words if w in spellings]
    plain = [w for w in words if w not in _BOTH and not any(w in spellings for spellings in _SIDES.values())]
    joined = "".join(plain)
    if len(sides) > 1:
        return None, "", False
    organ = next((standard for standard, spellings in (_PAIRED | _SINGLE).items() if joined in spellings), None)
    return organ, "".join(sides), joined.endswith("s") or any(w in _BOTH for w in words)


def standard_names(names: list[str]) -> dict[str, str]:
    """Standard name: name, for those that are not standard yet and of which one alone fits."""
    fits: dict[str, list[str]] = {}
    for name in names:
        if standard := standard_name(name):
            fits.setdefault(standard, []).append(name)
    return {standard: own[0] for standard, own in fits.items() if len(own) == 1 and own[0] != standard}
