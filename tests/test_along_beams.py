"""An imported dose on moved anatomy: directions of its beams, and the radiological depth along them."""

import numpy as np
import pytest
from scipy.special import ndtr

from simulator.case.anatomy import Case, ImportedDose
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ellipsoid
from simulator.case.structures import Structure
from simulator.case.treatment_beams import TreatmentBeam
from simulator.plan.agreement import check_agreement
from simulator.plan.along_beams import BeamDirection, PlanAlongBeams, directions_of
from simulator.plan.dose import SplineDose
from simulator.plan.prescription import Prescription

ISOCENTRE = np.array([1.0, 2.0, 3.0])


def beam(monitor_units, gantry_deg, delivered, couch_deg=0.0):
    n = len(gantry_deg)
    return TreatmentBeam(
        number=1, name="", energy_mv=6, monitor_units=monitor_units, delivered=np.array(delivered),
        gantry_deg=np.array(gantry_deg), collimator_deg=np.zeros(n), couch_deg=np.full(n, couch_deg),
        leaves_mm=np.zeros((n, 1, 2)), leaf_edges_mm=np.array([-5.0, 5.0]), jaws_x_mm=np.zeros((n, 2)),
        jaws_y_mm=np.zeros((n, 2)), isocentre_mm=ISOCENTRE, source_mm=1000.0, monitor_units_per_s=None,
    )  # fmt: skip


def test_an_arc_and_a_static_beam_share_the_monitor_units():
    """Between control points the gantry is in the middle, beyond 360 degrees too; shares are by monitor units."""
    arc, static = beam(300, [350.0, 360.0, 370.0], [0, 0.25, 1]), beam(100, [92.0, 92.0], [0, 1], couch_deg=10.0)
    found = directions_of([arc, static])
    shares = {(d.gantry_deg, d.couch_deg): d.share for d in found}
    assert shares == pytest.approx({(355.0, 0.0): 0.75 / 4, (5.0, 0.0): 0.75 * 3 / 4, (92.0, 10.0): 0.25})
    assert {d.isocentre_mm for d in found} == {tuple(ISOCENTRE)}


def water(by_mm=(0.0, 0.0, 0.0)) -> Volume:
    grid = Grid.covering((-100, -100, -100), (100, 100, 100), 4.0)
    x, y, z = np.add(grid.origin_mm, by_mm).tolist()
    return Volume(Grid((x, y, z), grid.spacing_mm, grid.shape), np.ones(grid.shape, np.float32))


def plan_of(*directions) -> PlanAlongBeams:
    grid = Grid.covering((-30, -30, -30), (30, 30, 30), 3.0)
    dose = SplineDose(Volume(grid, np.full(grid.shape, 50.0, np.float32)))
    return PlanAlongBeams(dose, None, None, grid, density=water(), directions=directions)


def test_water_over_a_point_takes_exp_mu_delta():
    """Anterior beam: water that lies 6 mm farther anterior is 6 mm more; along SI nothing changes."""
    plan = plan_of(BeamDirection((0.0, 0.0, 0.0), 0.0, 0.0, 1.0))
    points = np.array([[0.0, 0.0, 0.0], [10.0, -15.0, 12.0]])
    np.testing.assert_allclose(plan.dose_on(water()).at(points), 50.0, rtol=1e-6)
    np.testing.assert_allclose(plan.dose_on(water((0, -6, 0))).at(points), 50 * np.exp(-0.0047 * 6), rtol=2e-3)
    np.testing.assert_allclose(plan.dose_on(water((0, 0, 8))).at(points), 50.0, rtol=2e-4)


def test_opposed_beams_take_the_mean_by_their_shares():
    """At the middle of water, what one beam loses the other gains, but for cosh(mu Delta)."""
    plan = plan_of(BeamDirection((0.0, 0.0, 0.0), 0.0, 0.0, 0.5), BeamDirection((0.0, 0.0, 0.0), 180.0, 0.0, 0.5))
    middle = np.zeros((1, 3))
    assert plan.dose_on(water((0, -8, 0))).at(middle)[0] == pytest.approx(50 * np.cosh(0.0047 * 8), rel=3e-4)
    grid = Grid.covering((-4, -4, -4), (4, 4, 4), 4.0)
    moved = plan.dose_on(water((0, -8, 0)))
    np.testing.assert_allclose(moved.on_grid(grid).ravel(), moved.at(grid.nodes_mm().reshape(-1, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("step_mm", "radius_mm", "is_coarse"), [(1.0, 4.0, False), (3.0, 4.0, True), (3.0, 25.0, False)]
)
def test_a_grid_too_coarse_for_its_target_is_named(step_mm, radius_mm, is_coarse):
    """A brain metastasis of 8 mm under a fall-off of 2 mm, on 3 mm; not on 1 mm, and not a large target of shallow dose."""
    gtv = Structure("GTV", "target", Ellipsoid((0.0, 0.0, 0.0), (radius_mm,) * 3))
    grid = Grid.covering([-radius_mm - 15] * 3, [radius_mm + 15] * 3, step_mm)
    distance = np.linalg.norm(grid.nodes_mm() + 0.4 * step_mm, axis=-1)
    dose = ImportedDose(
        "sharp", Volume(grid, (60 * ndtr((radius_mm + 2 - distance) / (radius_mm / 2))).astype(np.float32))
    )
    case = Case("brain", {"GTV": gtv}, "GTV", water(), doses=(dose,))
    notes = check_agreement(
        case, gtv, [dose], Prescription(dose_gy=48, fractions=3, isodose_percent=80), "prescription"
    )
    coarse = [note for note in notes if "is coarse for GTV" in note]
    assert bool(coarse) == is_coarse
    if is_coarse:
        assert coarse[0].startswith(
            "dose 'sharp': its grid of 3 mm is coarse for GTV (0.27 cc): between nodes, linear and spline"
        )
