"""Is one version slower than another, or is that noise? A rule for paired times."""

from dataclasses import dataclass

import numpy as np

LEAST_TURNS = 6  # with fewer, even one side slower in every turn happens by chance more often than once in twenty
_CHANCE = 0.05


@dataclass(frozen=True)
class Ratio:
    """Time of the second side over that of the first.

    Parameters
    ----------
    low, high : interval that holds the true ratio in at least 95 of 100 comparisons.
    """

    middle: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "no difference beyond noise"

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f}-{self.high:.3f}), {self.verdict}"


def ratio_of(first_s: np.ndarray, second_s: np.ndarray) -> Ratio:
    """The ratio of two sides that took turns, by Wilcoxon's signed ranks of the logarithms of its values in each turn.

    If the sides are alike, a turn is as likely to favour one as the other, however disturbed the machine is: that is all the
    interval rests on. It is made of the means of all pairs of turns (Hodges and Lehmann 1963, doi:10.1214/aoms/1177704172).

    Parameters
    ----------
    first_s, second_s : times (turn,), at least `LEAST_TURNS` of each.
    """
    logs = np.log(np.asarray(second_s, float) / np.asarray(first_s, float))
    if len(logs) < LEAST_TURNS:
        raise ValueError(f"{len(logs)} turns cannot show a difference; take at least {LEAST_TURNS}")
    means = np.sort([(a + b) / 2 for i, a in enumerate(logs) for b in logs[i:]])
    left_out = _left_out(len(logs))
    low, middle, high = np.exp([means[left_out], np.median(means), means[-1 - left_out]])
    return Ratio(float(middle), float(low), float(high))


def _left_out(n_turns: int) -> int:
    """How many means to leave out at either end of the interval."""
    ways = np.ones(1)
    for rank in range(1, n_turns + 1):  # ways to reach each sum of positive ranks
        ways = np.convolve(ways, np.eye(1, rank + 1)[0] + np.eye(1, rank + 1, rank)[0])
    below = np.cumsum(ways) / 2**n_turns
    return int(np.sum(below <= _CHANCE / 2)) - 1
