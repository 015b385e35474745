"""Names of structures: the clinic's, the standard ones (TG-263), and which of them the study wants."""

import difflib
from collections.abc import Mapping, Sequence

from simulator.case.cells import Region
from simulator.case.structures import Role, Structure
from simulator.spec import CaseError

_EXTERNAL_NAMES = ("body", "external")


class StructureNames:
    """Looks structures up by their own or their standard name, ignoring case.

    Parameters
    ----------
    own : names as the file has them.
    aliases : standard name: names that the clinic uses for it. A structure that carries the standard name itself goes
        before its aliases.
    where : the file, for messages.
    """

    def __init__(self, own: Sequence[str], aliases: Mapping[str, Sequence[str]] | None, where: str) -> None:
        self.where = where
        self.standard = {name: name for name in own}
        by_lower = {name.lower(): name for name in reversed(own)}
        for standard, others in (aliases or {}).items():
            match = next((by_lower[w.lower()] for w in (standard, *others) if w.lower() in by_lower), None)
            if match is not None:
                self.standard[match] = standard
        self._known = {name.lower(): standard for name, standard in self.standard.items()}
        self._known.update({standard.lower(): standard for standard in self.standard.values()})

    def find(self, wanted: str) -> str:
        """The standard name of a structure; `CaseError` lists the ones that exist."""
        found = self._known.get(wanted.lower())
        if found is None:
            near = difflib.get_close_matches(wanted.lower(), list(self._known), n=1)
            hint = f"did you mean {self._known[near[0]]!r}? " if near else ""
            raise CaseError(
                f"structure {wanted!r} is not in {self.where}; {hint}it has: "
                f"{', '.join(self.standard.values()) or 'none'}. "
                "Name one of these, or map the clinic's own name with case.aliases"
            )
        return found


def select_structures(
    regions: Mapping[str, Region],
    kinds: Mapping[str, str],
    problems: Mapping[str, str],
    names: StructureNames,
    target: str | None,
    wanted: Sequence[str] | None,
) -> dict[str, Structure]:
    """The target, the body outline and the wanted structures (all when None), in the file's order.

    Parameters
    ----------
    regions : by standard name.
    kinds : RT ROI interpreted type by standard name, where known.
    problems : why a structure has no region, by standard name.

    Raises
    ------
    CaseError : the target or a wanted structure is absent, or has a problem.
    """
    chosen_target = names.find(target) if target is not None else None
    required = [names.find(name) for name in wanted or ()]
    for name in required if chosen_target is None else [chosen_target, *required]:
        if name in problems:
            raise CaseError(problems[name])
    roles: dict[str, Role] = {
        name: "external" if kinds.get(name) == "EXTERNAL" or name.lower() in _EXTERNAL_NAMES else "oar"
        for name in regions
    }
    return {
        name: Structure(name, "target" if name == chosen_target else roles[name], region)
        for name, region in regions.items()
        if wanted is None or name in required or name == chosen_target or roles[name] == "external"
    }
