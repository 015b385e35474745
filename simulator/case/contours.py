"""Structures drawn as closed planar contours on transverse slices, as RTSTRUCT has them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.case.geometry import Grid
from simulator.kernels.polygons import add_even_odd_coverage
from simulator.spec import CaseError

PLANE_TOLERANCE_MM = 0.02
GAP_FACTOR = 1.5
_MIN_AREA_MM2 = 1e-6
_SCANLINE_MM = 0.05
_MAX_SCANLINES = 64


@dataclass(frozen=True)
class ContourSlab:
    """The contours of one slice and the range along z (mm) that they stand for."""

    z_mm: float
    lower_mm: float
    upper_mm: float
    polygons: tuple[np.ndarray, ...]

    @property
    def area_mm2(self) -> float:
        """Area by the even-odd rule, for contours that do not cross each other."""
        return sum(_signed_area(p) * _nesting_sign(p, self.polygons) for p in self.polygons)
