"""The smallest PTV that covers: against the closed form of a ball, on unseen courses, and away from an organ."""

import csv
import re
from functools import partial

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from simulator.case.shapes import Ball
from simulator.commands.margins import sentences, table_of, write_margins
from simulator.execution.margins import search_margins
from simulator.execution.study import run
from simulator.ground.parallel import SerialExecutor, in_order, local_executor
from simulator.ground.spec import ConfigError
from simulator.plan.targets import Expansion, expand, planning_target
from simulator.population.edge_model import Edge
from simulator.population.margin_search import Cloud, least_of, size_that_covers, slack
from simulator.study_file.schema import StudyConfig

RADIUS_MM, SD_MM = 8.0, np.array([1.0, 1.0, 2.5])
BALL = {
    "name": "ball",
    "case": {"phantom": "sphere", "radius_mm": RADIUS_MM, "organs": {"Cord": {"radius_mm": 8, "gap_mm": 14}}},
    "prescription": {"dose_gy": 50, "fractions": 1, "isodose_percent": 95},
    "plan": {"model": "penumbra"},
    "uncertainty": {"setup": {"systematic_mm": SD_MM.tolist()}},
    "strategies": {"margins_mm": [4], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%", "Cord D0.1cc <= 35 Gy"],
    "courses": 300,
    "seed": 3,
}


def study(**changes):
    return StudyConfig.model_validate(BALL | changes)


def volume_cc(sides_mm):
    negative, positive = np.maximum(sides_mm, 0).reshape(3, 2).T
    target = planning_target(Ball((0.0, 0.0, 0.0), RADIUS_MM), np.zeros((1, 3)))
    return expand(target, Expansion(negative, positive)).volume_cc


def share_within(sides_mm, shift_mm):
    """A ball that is shifted lies within the ball plus an ellipsoid where the shift lies within the ellipsoid."""
    octant = sides_mm.reshape(3, 2)[np.arange(3), (shift_mm > 0).astype(int)]
    return np.mean(np.sum((shift_mm / octant) ** 2, axis=1) <= 1)


def test_a_ball_under_systematic_errors_needs_the_margins_of_the_closed_form():
    """PTV = ball + ellipsoid, 90 %: 4.38 mm and 7.95 cc alike, 6.82 cc in proportion, 6.63 cc (2.8, 2.8, 5.3 mm) at best."""
    depth = np.arange(-40, 40, 0.05)
    edge = Edge.of_profile(depth, ndtr(depth / 3.2 + ndtri(0.95))[None, None], 0.95, 1.0)
    half = ndtri(np.clip(qmc.Sobol(3, rng=1).random(512), 1e-9, 1 - 1e-9)) * SD_MM
    shift, path = np.concatenate([half, -half]), np.zeros((1, 3))
    cloud = Cloud.of_ball(edge, shift[:, None], np.ones((len(shift), 1)), path, RADIUS_MM, 100)

    def spare(sides_mm):
        return 10 * slack(cloud.coldest(edge, sides_mm, 100), 0.9)

    alike = size_that_covers(spare, np.ones(6), 15.0)
    assert alike == pytest.approx(4.38, abs=0.06)
    assert volume_cc(alike) == pytest.approx(7.95, rel=0.015)
    in_proportion = size_that_covers(spare, np.repeat(SD_MM, 2), 15.0)
    assert volume_cc(in_proportion) == pytest.approx(6.82, rel=0.015)
    with local_executor(2) as two:
        in_parallel = cloud.doses(edge, alike, partial(in_order, two))
    assert np.array_equal(in_parallel, cloud.doses(edge, alike))
    best = least_of(lambda m: volume_cc(m) / 8, [spare], alike, 15.0)
    population = np.random.default_rng(0).standard_normal((200_000, 3)) * SD_MM
    factor = np.linspace(0.9, 1.1, 41)
    covering = best * np.interp(0.9, [share_within(f * best, population) for f in factor], factor)
    assert volume_cc(covering) == pytest.approx(6.63, rel=0.008)
    assert covering.reshape(3, 2).mean(axis=1) == pytest.approx([2.8, 2.8, 5.3], abs=0.25)
    assert size_that_covers(spare, np.ones(6), 3.0) is None


@pytest.fixture(scope="module")
def searched():
    with local_executor(2) as executor:
        found = search_margins(study(), organ="Cord", executor=executor)
    return found, run(found.study)


@pytest.mark.nightly
def test_what_was_found_is_verified_on_courses_that_no_search_has_seen(searched, tmp_path):
    found, results = searched
    names = ["van Herk, as published", "isotropic", "van Herk's proportions", "smallest PTV", "away from Cord"]
    assert list(found.candidates) == names
    assert found.study.seed not in found.seeds
    assert len(set(found.seeds)) == 2
    columns, rows = table_of(found, results)
    assert len(rows) == len(found.candidates)
    for row in rows[1:]:
        assert 80 < float(row[columns.index("coverage")].split()[0]) <= 96
    saved = found.saving("smallest PTV", "isotropic")
    assert saved.low < saved.share < saved.high
    assert saved.low > 0.03
    text = " ".join(sentences(found, results))
    assert "which is little" in text or "cannot tell from nothing" in text
    write_margins(found, results, tmp_path)
    with (tmp_path / "margins.csv").open(encoding="utf-8") as file:
        table = {row["margins"]: row for row in csv.DictReader(file)}
    assert float(table["isotropic"]["saved_share"]) == 0
    assert float(table["smallest PTV"]["ptv_at_coverage_cc"]) < float(table["isotropic"]["ptv_at_coverage_cc"])


@pytest.mark.nightly
def test_margins_away_from_an_organ_spare_it_in_a_ptv_no_larger(searched):
    found, results = searched
    at = found.candidates
    right, left = found.sides_mm[at["away from Cord"], 0, :2]
    assert left < right  # the organ lies to the left
    ptv_cc = results["plans/ptv_cc"].values
    assert ptv_cc[at["away from Cord"]] < 1.05 * ptv_cc[at["isotropic"]]
    dose_gy = results["metrics/value"].sel(metric="Cord D0.1cc").mean("course").values
    assert dose_gy[at["away from Cord"]] < dose_gy[at["isotropic"]] - 2


@pytest.mark.nightly
def test_any_number_of_workers_finds_the_same_margins():
    small = study(courses=100, case=BALL["case"] | {"organs": {}}, goals=["GTV D98% >= 95%"])
    found = []
    for workers in (1, 2):
        with local_executor(workers) as executor:
            found.append(search_margins(small, executor=executor))
    assert found[0].study == found[1].study
    for name, sized in found[0].sized.items():
        assert np.array_equal(sized.shape_mm, found[1].sized[name].shape_mm)
        assert np.array_equal(sized.unseen, found[1].sized[name].unseen)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"organ": "Kord"}, "--organ: the study measures no organ 'Kord'; did you mean 'Cord'"),
        ({"goals": ["GTV D98% >= 95%", "Cord Dmean <= 5 Gy"]}, {"organ": "Cord"}, "no goal of the study limits a dose to"),
        ({"decision": {"target_goals": ["GTV V95% >= 99%"]}}, {}, "is no goal that margins can be searched for"),
        ({"decision": {"target_goals": ["GTV D98% >= 120%"]}}, {}, "60 Gy are wanted, but the highest dose of"),
        ({}, {"largest_mm": 2.0}, "2 mm all around do not reach a coverage of 90 %; ask for less with --coverage"),
        ({"uncertainty": {}}, {}, "covered in 90 % of courses without any margin"),
        ({}, {"coverage": 90.0}, "--coverage: 90 is a share of courses from 0.5 to below 1"),
        ({}, {"largest_mm": 99.0}, "--largest: 99 mm is no margin"),
        ({}, {"strategy": "itv"}, "--strategy: 'itv' is none of this study"),
        ({"sweep": {"prescription.dose_gy": [40, 50]}}, {}, "the study is a sweep; take `sweep` out"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(changes, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        search_margins(study(**changes), executor=SerialExecutor(), **options)


def test_strategies_that_differ_in_more_than_margins_have_to_be_named(tmp_path):
    both = {"margins_mm": [4], "motion": ["none"], "guidance": ["none", "online-bone"]}
    with pytest.raises(ConfigError, match="differ in more than margins; name one"):
        search_margins(study(strategies=both), executor=SerialExecutor())
