"""What a study found, as it introduces itself at a prompt and in a notebook."""

import math

import xarray as xr

from simulator.ground.readable import Readable


class Results(Readable, xr.DataTree):  # type: ignore[misc, no-untyped-call]
    """Results of a study: an `xarray.DataTree` that prints as a few lines; its groups print as xarray shows them."""

    @classmethod
    def of(cls, tree: xr.DataTree) -> "Results":
        """The same results; closing them closes the file that they are read from."""
        groups = {name: xr.DataTree(group.to_dataset()) for name, group in tree.children.items()}
        results = cls.from_dict({"/": tree.to_dataset(), **groups})
        results.set_close(tree.close)
        return results

    def summary(self) -> dict[str, str]:
        """What was simulated, what suits, and where numbers are."""
        lines = {"study": f"{self.attrs['name']}, target {self.attrs['target']}"} if "name" in self.attrs else {}
        if "goals" in self.children:
            sizes = dict(self["goals/probability"].sizes)
            strategies, goals, points = sizes.pop("strategy"), sizes.pop("goal"), math.prod(sizes.values())
            lines["simulated"] = f"{self.attrs['n_courses']} courses of each strategy ({strategies}), {goals} goals"
            lines["simulated"] += f", {points} points of a sweep" if sizes else ""
        decision = self["decision"].attrs if "decision" in self.children else {}
        for what in ("recommended", "nearest_miss"):
            if decision.get(what):
                lines[what.replace("_", " ")] = str(decision[what])
        return lines | {"groups": ", ".join(self.children)}
