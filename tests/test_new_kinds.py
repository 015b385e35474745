"""A new kind of metric is one class and one line in `kinds.KINDS`: a study asks for it, checks it, simulates and reports it."""

from dataclasses import dataclass

import numpy as np
import pytest

import simulator
from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.reach import Reach
from simulator.case.cells import Patch
from simulator.case.geometry import Grid
from simulator.ground.spec import ConfigError
from simulator.metrics import kinds
from simulator.metrics.dvh_points import DoseAtVolume
from simulator.metrics.kinds import parse_metric
from simulator.metrics.metric import Metric
from simulator.metrics.responses import ResponseProbability
from simulator.plan.dose import PlannedDose
from simulator.problem.preparation import prepare
from simulator.report.page import render_report
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.deciding import DecidingPoints
from simulator.study_file.schema import StudyConfig


@dataclass(frozen=True, kw_only=True)
class HottestMean(Metric):
    """Mean dose of the hottest part of the volume."""

    spelling = "Dhottest{percent:g}%"
    example = "Dhottest50%"
    percent: float

    def fault(self):
        return "" if 0 < self.percent <= 100 else "the hottest part is a part"

    def axes(self, prescription_gy):
        return {"mean": self.percent / 100}

    def of(self, doses):
        gy, cc = doses.cell_doses()
        order = np.argsort(-gy, axis=1)
        hot_cc = np.take_along_axis(np.broadcast_to(cc, gy.shape), order, axis=1)
        wanted_cc = self.percent / 100 * doses.total_cc[:, None]
        hot_cc = np.clip(wanted_cc - np.cumsum(hot_cc, axis=1) + hot_cc, 0, hot_cc)
        return (hot_cc * np.take_along_axis(gy, order, axis=1)).sum(axis=1) / np.where(wanted_cc > 0, wanted_cc, 1)[
            :, 0
        ]


@dataclass(frozen=True, kw_only=True)
class MedianDose(DoseAtVolume):
    """Least dose to the hotter half of the volume."""

    spelling = example = "Dmedian"

    def hot_cc(self, total_cc):
        return 0.5 * total_cc


@dataclass(frozen=True, kw_only=True)
class Recurrence(ResponseProbability):
    """Probability that the tumour is not controlled."""

    spelling = example = "Recurrence"
    response = "tcp"
    falls_with_dose = True

    def without_target(self, drawn_cc):
        return 100.0

    def of(self, doses):
        return 100 - super().of(doses)


TOYS = (HottestMean, MedianDose, Recurrence)
GOALS = ["GTV D98% >= 90%", "GTV Dhottest50% >= 100%", "GTV Dhottest100% >= 95%", "GTV Dmedian >= 100%",
         "GTV EQD2(3):Dhottest20% <= 300 Gy", "GTV Recurrence <= 10 %", "External Dhottest0.1% <= 50 Gy"]  # fmt: skip


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, *TOYS))


def study(*goals, **changes):
    raw = {
        "name": "new-metric",
        "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 4},
        "prescription": {"dose_gy": 30, "fractions": 3, "isodose_percent": 80},
        "plan": {"model": "penumbra", "normalisation": "isodose"},
        "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}},
        "strategies": {"margins_mm": [2, 5], "motion": "none", "guidance": "none"},
        "goals": goals or GOALS,
        "decision": {"target_goals": ["GTV Dhottest50% >= 100%"]},
        "biology": {"tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}}},
        "courses": 40,
        "numerics": {"instants": 4, "max_points": 1000},
    }
    return StudyConfig.model_validate(raw | changes)


@pytest.mark.parametrize("delineation", [pytest.param({}, marks=pytest.mark.nightly), {"delineation": {"sd_mm": 1.0}}])
def test_a_study_of_new_metrics(tmp_path, delineation):
    errors = {"setup": {"systematic_mm": 2, "random_mm": 2}, **delineation}
    results = simulator.run(study(uncertainty=errors, budget={"courses": 50}), workers=1)
    value = {str(m): results["metrics/value"].sel(metric=m).values for m in results["metrics/metric"].values}
    nominal = results["metrics/nominal"].to_series().unstack()
    np.testing.assert_allclose(value["GTV Dhottest100%"], value["GTV Dmean"], rtol=1e-5)
    np.testing.assert_allclose(nominal["GTV Dhottest100%"], nominal["GTV Dmean"], rtol=1e-5)
    assert np.all(value["GTV Dhottest50%"] > value["GTV Dmean"])
    assert np.all(value["GTV Dhottest50%"] > value["GTV Dmedian"])
    np.testing.assert_array_equal(value["External Dhottest0.1%"].shape, (2, 40))
    np.testing.assert_allclose(value["GTV Recurrence"], 100 - value["GTV TCP"], atol=1e-4)
    assert set(GOALS) == {str(g) for g in results["goals/goal"].values}
    assert "GTV Dhottest50%" in results["budget/metric"].values
    render_report(results, tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "EQD2(3):Dhottest20%" in report
    assert "GTV Recurrence" in report


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        (["GTV Dhottest120% >= 95%"], "GTV Dhottest120%: the hottest part is a part"),
        (["GTV Dhottest50% >= 5 cc"], "its limit is in Gy or %, not in cc"),
        (["GTV EQD2(3):Dhottest50% >= 95 %"], "percent of what. The prescription is a physical dose"),
        (["GTV BED(3):Recurrence <= 5 %"], "Recurrence is no metric of a dose"),
        (
            ["GTV Dhottest >= 30 Gy"],
            "GTV Dhottest: unknown metric 'Dhottest'; known are D98%, .*, Dhottest50%, Dmedian",
        ),
        (["GTV Dhottest50% >= 30 Gy", "GTV Dhottest50.0% >= 100 %"], "say the same; remove one"),
        (["GTV Dhottest50% >= 33 Gy", "GTV Dmax <= 32 Gy"], "exclude each other"),
        (["GTV Dmean >= 33 Gy", "GTV Dhottest50% <= 32 Gy"], "exclude each other"),
        (["Heart Dhottest50% <= 30 Gy"], "structure 'Heart' is not in case"),
    ],
)
def test_checks_of_new_metrics(goals, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        prepare(study(*goals))


def test_notes_know_which_way_a_new_metric_goes():
    goals = ["External Dhottest1% >= 30 Gy", "External Recurrence >= 10 %"]
    tcp = {"External": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}}
    found = [note for note in prepare(study(*goals, biology={"tcp": tcp})).notes if "more dose to an organ" in note]
    assert len(found) == 1
    assert goals[0] in found[0]


class Slope(PlannedDose):
    """A dose that falls by 1 Gy per mm."""

    def on_grid(self, grid):
        return self.at(grid.nodes_mm().reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm):
        return 60.0 - points_mm[:, 0]


def test_a_new_point_of_the_dvh_is_decided_by_few_points():
    lattice = Grid.covering((-20, -10, -10), (20, 10, 10), 2.0)
    index = np.argwhere(np.ones(lattice.shape, bool)).astype(np.int32)
    patch = Patch(lattice, index, np.full(len(index), lattice.voxel_cc))
    shift = np.random.default_rng(1).normal(0, 0.5, (9, 3, 3))
    motion = TissueMotion(shift, np.full((9, 3), 1 / 3), None, np.zeros(3))
    points = LatticePoints(Slope(), patch, Reach.of(motion), 1)
    metrics = [parse_metric("Organ", text) for text in ("Dmedian", "D50%")]
    some = DecidingPoints.of([points], patch.volume_cc, metrics, 50.0)
    assert some is not None
    assert len(some.volume_cc) < 0.7 * points.n_points
    values = some.evaluate(motion)
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    expected = 60 - shift[..., 0].mean(axis=1)
    np.testing.assert_allclose(values[:, 0], expected, atol=0.1)
    assert DecidingPoints.of([points], patch.volume_cc, [parse_metric("Organ", "Dhottest50%")], 50.0) is None
