"""Names of structures: the clinic's, the standard ones (TG-263), and which of them the study wants."""

import difflib
from collections.abc import Mapping, Sequence

from simulator.case.cells import Region
from simulator.case.structures import Role, Structure
from simulator.ground.spec import CaseError

_EXTERNAL_NAMES = ("body", "external")


class StructureNames:
    """Looks structures up by their own or their standard name: exactly, or else ignoring case if only one fits.

    Parameters
    ----------
    own : names as the file has them.
    aliases : standard name: names that the clinic uses for it. A structure that carries the standard name itself goes
        before its aliases.
    where : the file, for messages.
    namesakes : what the file calls several structures, and the names that tell them apart.

    Raises
    ------
    CaseError : an alias that fits several structures.
    """

    def __init__(
        self,
        own: Sequence[str],
        aliases: Mapping[str, Sequence[str]] | None,
        where: str,
        namesakes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.where = where
        self.namesakes = dict(namesakes or {})
        self.standard = {name: name for name in own}
        for standard, others in (aliases or {}).items():
            match = self._match((standard, *others), self.standard)
            if match is not None:
                self.standard[match] = standard
        self._known = self.standard | {standard: standard for standard in self.standard.values()}

    def find(self, wanted: str) -> str:
        """The standard name of a structure; `CaseError` lists the ones that exist, or that could be meant."""
        found = self._match((wanted,), self._known)
        if found is None:
            near = difflib.get_close_matches(wanted.lower(), [name.lower() for name in self._known], n=1)
            hint = next((f"did you mean {s!r}? " for n, s in self._known.items() if [n.lower()] == near), "")
            raise CaseError(
                f"structure {wanted!r} is not in {self.where}; {hint}it has: "
                f"{', '.join(self.standard.values()) or 'none'}. "
                "Name one of these, or map the clinic's own name with case.aliases"
            )
        return self._known[found]

    def _match(self, wanted: Sequence[str], known: Mapping[str, str]) -> str | None:
        """The known name that is exactly a wanted one or, without such, the only one that is ignoring case."""
        exact = next((name for name in wanted if name in known), None)
        if exact is not None:
            return exact
        for name in wanted:
            if name in self.namesakes:
                raise CaseError(self.refusal(name))
            alike = [other for other in known if other.casefold() == name.casefold()]
            if len({known[other] for other in alike}) > 1:
                raise CaseError(
                    f"structure {name!r} could be {' or '.join(map(repr, alike))} in {self.where}, which differ only in "
                    "case; write the one that is meant exactly so"
                )
            if alike:
                return alike[0]
        return None

    def refusal(self, name: str) -> str:
        """Why a name that several structures have says nothing."""
        others = self.namesakes[name]
        return (
            f"{len(others)} structures are called {name!r} in {self.where}; they are listed as "
            f"{', '.join(map(repr, others))}: name one of these, by case.aliases where the name must have no blank"
        )


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
