"""What is known of doses is what would be found again, bit for bit, and is not computed again."""

import numpy as np
import pytest

from simulator.accumulation.known import KnownDoses
from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.points import ScatteredPoints
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.case.cells import refined, sample_region
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.plan.dose import SplineDose
from simulator.sampling.tissue_motion import TissueMotion

ORGAN = Ball((4.0, -3.0, 2.0), 11.0)


def planned():
    """A dose that differs everywhere."""
    grid = Grid((-54.0, -54.0, -54.0), (6.0, 6.0, 6.0), (19, 19, 19))
    return SplineDose(Volume(grid, np.random.default_rng(5).uniform(1, 50, grid.shape).astype(np.float32)))


def courses(turn):
    """40 courses of six displacements, with turns of about so many radians."""
    rng = np.random.default_rng(6)
    linear = None if turn == 0 else rng.normal(0, turn, (40, 6, 3, 3))
    return TissueMotion(rng.normal(0, 2, (40, 6, 3)), np.full((40, 6), 1 / 6), linear, np.array([4.0, -3.0, 2.0]))


def computed(monkeypatch):
    """How many points the doses were computed of, in the order of the calls."""
    counts = []
    for kind in (LatticePoints, ScatteredPoints):
        accumulate = kind.accumulate

        def counted(self, *others, accumulate=accumulate):
            counts.append(self.n_points)
            return accumulate(self, *others)

        monkeypatch.setattr(kind, "accumulate", counted)
    return counts


@pytest.mark.parametrize(
    ("turn", "kind", "n_shared"), [(0, LatticePoints, 0.5), (0.006, LatticePoints, 0.0), (0.3, ScatteredPoints, 0.5)]
)
def test_round_after_round(turn, kind, n_shared, monkeypatch):
    """Cells of a ball that are divided in three rounds; what stays is not computed again where points are alike one by one."""
    dose, motion, whole = planned(), courses(turn), sample_region(ORGAN, 3.0)
    reach = Reach.of(motion, np.full(3, 11.0))
    from_centre_mm = whole.points_mm - motion.centre_mm
    hot, middle = np.abs(from_centre_mm[:, 2]) > 4, np.abs(from_centre_mm).max(axis=1) < 4
    known, saved = KnownDoses([motion]), []
    for chosen in (hot, hot | middle, hot | middle):
        doses = StructureDoses(dose, [refined(ORGAN, whole, chosen), whole.some(~chosen)], reach, 1.0)
        assert all(type(part) is kind for part in doses.parts)
        want = [doses.accumulate(some) for _, some in motion.in_parts()]
        with monkeypatch.context() as patch:
            counts = computed(patch)
            found = list(known.of(doses))
        for one, two in zip(found, want, strict=True):
            np.testing.assert_array_equal(one, two)
        saved.append(1 - sum(counts) / (len(want) * doses.cells.n_nodes))
    assert saved[0] == 0
    assert saved[1] >= n_shared
    assert saved[2] == 1
