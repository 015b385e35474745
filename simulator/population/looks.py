"""When strategies are looked at whose verdicts are wanted alone, and intervals that stay true though strategies stop.

A strategy stops at the first look at which its verdict is settled. The false verdicts of all strategies of a study together
have a probability of at most `ERROR`, whatever the strategies have in common, by Bonferroni's inequality alone:

- `ERROR` is shared equally by the strategies, by the two parts of a verdict (target, organs) and by the looks, which are
  few and known beforehand (Lan & DeMets 1983, doi:10.1093/biomet/70.3.659, with equal spending). At each look the ends are
  the exact binomial ones of Clopper & Pearson. With looks that double, this needs fewer courses than sequences that hold at
  every course, as those of Robbins 1970, doi:10.1214/aoms/1177696786, and Howard et al. 2021, doi:10.1214/20-AOS1991.
- A part holds when all of its conditions do. "Yes" needs the lower end of each of them, so also of one that is not met in
  truth: the lower end needs no share for the number of conditions (Berger 1982, doi:10.2307/1268650). "No" needs the upper
  end of any one, so the error of upper ends is divided by the number of conditions.
"""

from dataclasses import dataclass

import numpy as np

from simulator.ground.once import cached_property
from simulator.population.intervals import clopper_pearson_interval

ERROR = 0.05
_PARTS = 2
_LEAST_GROWTH = 1.5


@dataclass(frozen=True)
class Looks:
    """The numbers of courses after which strategies are looked at.

    Parameters
    ----------
    first, most : courses of the first look, and of the last.
    n_strategies : whose verdicts are to be right together.
    n_conditions : of the larger part of a verdict.
    """

    first: int
    most: int
    n_strategies: int
    n_conditions: int

    @cached_property
    def courses(self) -> tuple[int, ...]:
        """Number of courses at each look: each twice the one before, and the last."""
        found, n = [], min(self.first, self.most)
        while _LEAST_GROWTH * n < self.most:
            found.append(n)
            n *= 2
        return (*found, self.most)

    def after(self, n_courses: int) -> int | None:
        """Courses of the look that follows one; None after the last."""
        return next((n for n in self.courses if n > n_courses), None)

    @property
    def errors(self) -> tuple[float, float]:
        """How often at most a lower, and an upper, end at one look lies on the wrong side of the truth."""
        each = ERROR / self.n_strategies / _PARTS / len(self.courses)
        return each, each / self.n_conditions

    def interval(self, n_met: np.ndarray, n_courses: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the interval of a probability at a look.

        Parameters
        ----------
        n_met : number of courses that meet a goal, any shape. n_courses : that were simulated, of a shape that fits.
        """
        below, above = self.errors
        low, _ = clopper_pearson_interval(n_met, n_courses, 1 - 2 * below)
        _, high = clopper_pearson_interval(n_met, n_courses, 1 - 2 * above)
        return low, high
