"""The sum of z scores: are rows that each pass, taken together, scattered about the truth as chance has it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import chdtrc, ndtr

_FOUR_SE = 2 * float(ndtr(-4))


@dataclass(frozen=True)
class ZSum:
    """z scores of independent rows, taken together.

    Parameters
    ----------
    n : number of rows.
    total : sum of z over the root of n, standard normal where nothing is wrong: far from 0, rows err to one side.
    chi2 : sum of squares, chi-squared with n degrees of freedom where nothing is wrong.
    p : probability of that sum of squares, or a larger one.
    """

    n: int
    total: float
    chi2: float
    p: float

    @classmethod
    def of(cls, z: Sequence[float]) -> Self:
        """Take z scores of independent rows together; without rows all is nought."""
        chi2 = float(np.square(z).sum())
        return cls(len(z), float(np.sum(z) / np.sqrt(max(len(z), 1))), chi2, float(chdtrc(len(z), chi2)) if z else 1.0)

    @property
    def passed(self) -> bool:
        """Whether sum and sum of squares are as likely as four standard errors, at least."""
        return abs(self.total) <= 4 and self.p >= _FOUR_SE

    def line(self, n_sharing: int) -> str:
        """The sum in one line; `n_sharing` rows were left out, which share courses with a row in it."""
        if not self.n:
            return "no sampled row: no sum of z scores"
        left_out = f"; {n_sharing} more rows share courses with these and are left out" if n_sharing else ""
        return (
            f"{'pass' if self.passed else 'FAIL'}: {self.n} sampled rows on courses of their own, z_total = sum of z / "
            f"sqrt({self.n}) = {self.total:+.2f} (expected N(0, 1)), sum of squares {self.chi2:.2f} against "
            f"chi2({self.n}), p = {self.p:.2g}{left_out}"
        )
