"""Planned doses: splines, the closed-form penumbra and imported grids."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, spline_filter
from scipy.stats import norm

from simulator.answers.beyond_grid import FallingBeyond
from simulator.case.anatomy import Case, ImportedDose
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.case.structures import Structure
from simulator.ground.spec import CaseError, ConfigError
from simulator.kernels.splines import limit_to_cells
from simulator.plan.along_beams import FactoredDose
from simulator.plan.dose import DosesInTurn, LimitedSplineDose, PlannedDose, ScaledDose, SplineDose, SumOfDoses
from simulator.plan.imported import ImportedDoses
from simulator.plan.model import Order
from simulator.plan.penumbra import Penumbra, RadialDose
from simulator.plan.prescription import Prescription
from simulator.plan.targets import Expansion, planning_target
from simulator.strategy import Strategy
from simulator.strategy.guidance import NoGuidance
from simulator.strategy.margin import FixedMargin
from simulator.strategy.motion import NoMotionManagement

STILL = np.zeros((1, 3))
GRID = Grid((-20.0, -18.0, -24.0), (2.0, 2.5, 3.0), (17, 15, 21))


def equal(margin_mm: float) -> Expansion:
    return Expansion(np.full(3, margin_mm), np.full(3, margin_mm))


def noisy_dose(seed: int = 3) -> Volume:
    values = np.random.default_rng(seed).uniform(5, 50, GRID.shape).astype(np.float32)
    return Volume(GRID, values)


def test_spline_passes_through_the_nodes():
    volume = noisy_dose()
    dose = SplineDose(volume)
    np.testing.assert_allclose(dose.on_grid(GRID), volume.values, atol=1e-6 * volume.values.max())
    np.testing.assert_allclose(dose.at(GRID.nodes_mm().reshape(-1, 3)), volume.values.ravel(), rtol=1e-10)


def test_grid_and_points_agree_with_scipy_between_the_nodes():
    volume = noisy_dose()
    fine = Grid((-17.3, -15.1, -20.9), (0.7, 0.9, 1.1), (30, 28, 44))
    index = np.moveaxis(GRID.index_zyx(fine.nodes_mm()), -1, 0)
    coefficients = spline_filter(volume.values.astype(float), order=3, mode="mirror")
    truth = np.maximum(map_coordinates(coefficients, index, order=3, mode="mirror", prefilter=False), 0)
    dose = SplineDose(volume)
    np.testing.assert_allclose(dose.on_grid(fine), truth, atol=2e-5)
    np.testing.assert_allclose(dose.at(fine.nodes_mm().reshape(-1, 3)), truth.ravel(), atol=1e-10)


def test_refining_a_cubic_polynomial_is_exact_away_from_the_faces():
    grid = Grid((-40.0, -40.0, -40.0), (2.0, 2.0, 2.0), (41, 41, 41))

    def cubic(points):
        x, y, z = np.moveaxis(points / 40, -1, 0)
        return 20 + 5 * x**3 - 4 * y**2 * x + 3 * z**3 + x * y * z - 2 * z**2

    dose = SplineDose(Volume(grid, cubic(grid.nodes_mm())))
    inside = Grid((-7.9, -8.3, -8.1), (0.5, 0.5, 0.5), (33, 33, 33))
    np.testing.assert_allclose(dose.at(inside.nodes_mm().reshape(-1, 3)), cubic(inside.nodes_mm()).ravel(), atol=1e-8)
    np.testing.assert_allclose(dose.on_grid(inside), cubic(inside.nodes_mm()), rtol=1e-6)


def test_spline_of_two_mm_resolves_the_penumbra():
    """A cubic spline on 2 mm keeps a Gaussian penumbra of 3.2 mm to 0.1 % of the plateau; trilinear does not."""
    exact = RadialDose((0.0, 0.0, 0.0), 15.0, 3.2, 100.0)
    grid = Grid.covering((-40, -40, -40), (40, 40, 40), 2.0)
    points = np.random.default_rng(1).uniform(-25, 25, (4000, 3))
    spline = SplineDose(Volume(grid, exact.on_grid(grid)))
    assert np.abs(spline.at(points) - exact.at(points)).max() < 0.1
    linear = map_coordinates(exact.on_grid(grid), grid.index_zyx(points).T, order=1)
    assert np.abs(linear - exact.at(points)).max() > 1.0


def test_outside_the_grid_the_nearest_face_counts():
    dose = SplineDose(noisy_dose())
    upper = np.array(GRID.upper_mm)
    beyond = np.array([upper + 50, [-500, upper[1], upper[2]], np.array(GRID.origin_mm) - 3])
    held = np.clip(beyond, GRID.origin_mm, upper)
    np.testing.assert_array_equal(dose.at(beyond), dose.at(held))
    around = Grid((-30.0, -30.0, -40.0), (4.0, 4.0, 4.0), (25, 20, 20))
    np.testing.assert_allclose(dose.on_grid(around).ravel(), dose.at(around.nodes_mm().reshape(-1, 3)), atol=2e-5)


def test_overshoot_below_zero_is_cut_off():
    values = np.zeros((12, 12, 12), np.float32)
    values[:, :, 6:] = 50.0
    grid = Grid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), values.shape)
    fine = Grid((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (45, 45, 45))
    dose = SplineDose(Volume(grid, values))
    assert dose.on_grid(fine).min() == 0.0
    assert dose.at(fine.nodes_mm().reshape(-1, 3)).min() == 0.0


def test_radial_dose_on_a_grid_is_the_closed_form():
    dose = RadialDose((1.0, -2.0, 3.0), 18.0, 3.2, 60.0)
    radius = np.linalg.norm(GRID.nodes_mm() - [1, -2, 3], axis=-1)
    truth = 60 * norm.cdf((18 - radius) / 3.2)
    np.testing.assert_allclose(dose.on_grid(GRID), truth, rtol=1e-6)
    np.testing.assert_allclose(dose.at(GRID.nodes_mm().reshape(-1, 3)), truth.ravel(), rtol=1e-12)


def sphere_case(radius_mm: float = 15.0, centre=(0.0, 0.0, 0.0), doses=()) -> Case:
    grid = Grid.covering((-60, -60, -60), (60, 60, 60), 2.0)
    gtv = Structure("GTV", "target", Ball(centre, radius_mm))
    return Case("sphere", {"GTV": gtv}, "GTV", Volume(grid, np.ones(grid.shape, np.float32)), doses=doses)


def candidate(margin_mm) -> Strategy:
    margin = FixedMargin(margin_mm=margin_mm)
    return Strategy(margin=margin, motion=NoMotionManagement(), guidance=NoGuidance())


def planned(model, case, margin_mm, rx, path=STILL):
    own = model.of(candidate(margin_mm), {"GTV": equal(margin_mm)})
    return own.plan(Order(case, planning_target(case.gtv.region, path), equal(margin_mm), rx))


@pytest.mark.parametrize("isodose", [50.0, 80.0, 95.0])
@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_the_isodose_lies_at_radius_plus_margin(isodose, margin):
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=isodose)
    edge = np.array([[0, 15.0 + margin, 0], [0, 0, -15.0 - margin]])
    plateau = planned(Penumbra(), sphere_case(), margin, rx)
    np.testing.assert_allclose(plateau.dose.at(edge), 50 * isodose / 100, rtol=1e-12)
    assert plateau.dose.max_gy == 50
    assert plateau.dose.radius50_mm == pytest.approx(15 + margin + norm.ppf(isodose / 100) * 3.2)
    surface = planned(Penumbra(normalisation="isodose"), sphere_case(), margin, rx)
    np.testing.assert_allclose(surface.dose.at(edge), 50, rtol=1e-12)
    assert surface.dose.max_gy == pytest.approx(50 / (isodose / 100))


def test_gridded_penumbra_agrees_with_the_closed_form():
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=95)
    points = np.random.default_rng(5).uniform(-22, 22, (3000, 3))
    exact = planned(Penumbra(), sphere_case(), 5, rx).dose
    gridded = planned(Penumbra(gridded=True), sphere_case(), 5, rx).dose
    assert isinstance(gridded, SplineDose)
    assert np.abs(gridded.at(points) - exact.at(points)).max() < 0.05


def test_penumbra_follows_a_target_planned_elsewhere():
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=95)
    plan = planned(Penumbra(), sphere_case(centre=(1.0, 2.0, 3.0)), 5, rx, np.array([[0, 0, 4.0]]))
    np.testing.assert_allclose(plan.dose.centre_mm, (1, 2, 7))


def test_penumbra_refuses_what_is_not_a_sphere():
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=95)
    case = sphere_case()
    with pytest.raises(ConfigError, match="several positions"):
        planned(Penumbra(), case, 5, rx, np.array([[0, 0, 0], [0, 0, 5.0]]))
    with pytest.raises(ConfigError, match="is 100"):
        planned(Penumbra(), case, 5, Prescription(dose_gy=50, fractions=5, isodose_percent=100))


def test_penumbra_of_unequal_margins_keeps_its_isodose_on_the_surface_of_the_ptv():
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=80)
    case = sphere_case()
    target, sides = planning_target(case.gtv.region, STILL), (np.array([3.0, 5, 2]), np.array([3.0, 5, 7]))
    plan = Penumbra(normalisation="isodose").plan(Order(case, target, Expansion(*sides), rx))
    poles = case.gtv.centroid_mm + np.array([[18.0, 0, 0], [0, -20, 0], [0, 0, -17], [0, 0, 22]])
    np.testing.assert_allclose(plan.dose.at(poles), 50, atol=1e-6)
    np.testing.assert_allclose(plan.dose.at(plan.ptv.surface_mm).mean(), 50, atol=0.6)


def imported_case() -> Case:
    grid = Grid.covering((-25, -25, -25), (25, 25, 25), 2.5)
    doses = tuple(
        ImportedDose(f"margin {m}", Volume(grid, RadialDose((0.0, 0.0, 0.0), 17.0 + m, 4.0, 62.5).on_grid(grid)), uid)
        for m, uid in ((0, "1.2.840.10"), (5, "1.2.840.25"))
    )
    return sphere_case(doses=doses)


def test_imported_dose_is_reproduced_at_its_nodes():
    case = imported_case()
    rx = Prescription(dose_gy=50, fractions=5)
    model = ImportedDoses.model_validate(
        {"model": "rtdose", "doses": [{"margin_mm": 0, "dose": "margin 0"}, {"margin_mm": 5, "dose": "0.25"}]}
    )
    for margin, source in zip((0.0, 5.0), case.doses, strict=True):
        plan = planned(model, case, margin, rx)
        values = source.dose_gy.values
        assert plan.grid == source.dose_gy.grid
        np.testing.assert_allclose(plan.dose.on_grid(plan.grid), values, atol=1e-6 * values.max())
        np.testing.assert_allclose(plan.dose.at(plan.grid.nodes_mm().reshape(-1, 3)), values.ravel(), atol=1e-6)


def test_imported_doses_name_what_is_missing():
    case, rx = imported_case(), Prescription(dose_gy=50, fractions=5)

    def model(*entries):
        return ImportedDoses.model_validate({"doses": [{"margin_mm": m, "dose": d} for m, d in entries]})

    with pytest.raises(
        ConfigError, match=r"no dose for strategy .* \(margin 3 mm\); there are doses for margin 0 mm; margin 3/3/6 mm"
    ):
        planned(model((0, "margin 0"), ((3, 3, 6), "margin 5")), case, 3.0, rx)
    with pytest.raises(ConfigError, match=r"'7' is not a dose of case 'sphere'; it has: margin 0 \(1.2.840.10\)"):
        planned(model((0, "7")), case, 0.0, rx)
    twins = sphere_case(
        doses=(ImportedDose("a", case.doses[0].dose_gy, "1.5"), ImportedDose("b", case.doses[1].dose_gy, "2.5"))
    )
    with pytest.raises(ConfigError, match="'5' fits several doses"):
        planned(model((0, "5")), twins, 0.0, rx)
    with pytest.raises(CaseError, match="does not cover the PTV of margin 14 mm"):
        planned(model((14, "margin 5")), case, 14.0, rx)


def test_splines_do_not_overshoot_at_an_edge_and_are_exact_where_the_dose_is_smooth():
    grid = Grid((0.0, 0.0, 0.0), (2.5, 2.5, 2.5), (24, 24, 24))
    fine = Grid((5.1, 5.2, 5.3), (0.7, 0.7, 0.7), (60, 60, 60))
    x = np.broadcast_to(grid.axes_mm[0], grid.shape)
    edge = Volume(grid, np.where(x < 30, 0.0, 70.0).astype(np.float32))
    assert SplineDose(edge).on_grid(fine).max() > 75
    limited = LimitedSplineDose(edge)
    np.testing.assert_allclose(limited.scaled(2).on_grid(fine), 2 * limited.on_grid(fine), rtol=1e-6)
    assert PlannedDose.unblurred_on_grid(limited, fine).max() > 70.5
    for gy in (limited.on_grid(fine), limited.at(fine.nodes_mm().reshape(-1, 3)), limited.unblurred_on_grid(fine)):
        assert -1e-4 <= gy.min() <= gy.max() <= 70 + 1e-4
    smooth = Volume(grid, RadialDose((29.3, 28.1, 30.6), 12.0, 3.2, 70.0).on_grid(grid))
    np.testing.assert_allclose(LimitedSplineDose(smooth).on_grid(fine), SplineDose(smooth).on_grid(fine), atol=0.02)


def test_sums_and_multiples_of_doses_are_unblurred_one_by_one():
    edge = np.where(GRID.nodes_mm()[..., 0] < 0, 0.0, 70.0).astype(np.float32)
    limited, smooth = LimitedSplineDose(Volume(GRID, edge)), RadialDose((1.0, -2.0, 3.0), 18.0, 3.2, 60.0)
    fine = Grid((-8.1, -4.2, -2.3), (0.7, 0.7, 0.7), (10, 10, 24))
    one, two = limited.unblurred_on_grid(fine), smooth.unblurred_on_grid(fine)
    factor = Volume(GRID, np.full(GRID.shape, 1.5, np.float32))
    for dose, expected in (
        (SumOfDoses((limited, smooth)), one + two),
        (DosesInTurn(limited, smooth, 1, 4), (one + 3 * two) / 4),
        (ScaledDose(limited, 1.5), 1.5 * one),
        (FactoredDose(limited, factor), 1.5 * one),
        (FallingBeyond(limited, GRID), one),
    ):
        np.testing.assert_allclose(dose.unblurred_on_grid(fine), expected, rtol=1e-6, atol=1e-5)


def test_limits_of_cells_are_those_of_numpy():
    rng = np.random.default_rng(3)
    values, low = rng.uniform(0, 60, (5, 6, 7)).astype(np.float32), rng.uniform(0, 30, (3, 4, 5)).astype(np.float32)
    high = low + rng.uniform(0, 30, low.shape).astype(np.float32)
    cells = [rng.integers(0, n, m) for n, m in zip(low.shape, values.shape, strict=True)]
    expected = np.clip(values, low[np.ix_(*cells)], high[np.ix_(*cells)])
    limit_to_cells(values, low, high, *cells)
    np.testing.assert_array_equal(values, expected)
