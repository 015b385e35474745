"""Margins of several targets: written by target, and searched for all of them to be covered as the decision asks."""

import copy
import re

import numpy as np
import pytest

from simulator.answers.margin_shapes import ISOTROPIC, SMALLEST
from simulator.answers.margin_sizes import Sized
from simulator.commands.margins import sentences, table_of, write_margins
from simulator.execution.margins import _together, search_margins
from simulator.execution.study import run
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import ConfigError
from simulator.problem.preparation import prepare
from simulator.study_file.schema import StudyConfig

BALLS = {
    "name": "balls",
    "case": {"phantom": "sphere", "radius_mm": 8, "nodes": {"Node": {"centre_mm": [45, 0, 0], "diameter_mm": 12}}},
    "targets": {"GTV": {}, "Node": {"registration": {"systematic_mm": 1.5}}},
    "prescription": {"dose_gy": 50, "fractions": 1, "isodose_percent": 95},
    "plan": {"model": "penumbra"},
    "uncertainty": {"setup": {"systematic_mm": [1, 1, 2.5]}},
    "strategies": {"margins_mm": [4], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%", "Node D98% >= 95%"],
    "courses": 400,
    "seed": 3,
    "numerics": {"instants": 1, "max_points": 1000},
}
WITH_CORD = {
    "case": BALLS["case"] | {"organs": {"Cord": {"radius_mm": 6, "gap_mm": 14}}},
    "goals": [*BALLS["goals"], "Cord D0.1cc <= 35 Gy"],
    "targets": {"GTV": {}, "Node": {}},
}
EACH = {"recipe": "each", "targets": {"GTV": 3, "Node": [4, 4, 6]}}


def study(**changes):
    return StudyConfig.model_validate(copy.deepcopy(BALLS) | changes)


def with_margin(margin, targets=BALLS["targets"]):
    return study(targets=targets, strategies=BALLS["strategies"] | {"margins_mm": [margin]})


def test_a_margin_for_each_target():
    problem = prepare(with_margin(EACH))
    assert [ptv.margin_mm for ptv in problem.requests[0].ptvs] == [(3.0,) * 6, (4.0, 4.0, 4.0, 4.0, 6.0, 6.0)]
    assert problem.strategies[0].label() == "none, GTV 3 mm; Node 4/4/6 mm, none"
    assert problem.strategies[0].margin.directions(None).tolist() == [[4, 4], [4, 4], [6, 6]]


@pytest.mark.parametrize(
    ("margin", "targets"),
    [
        (EACH, {"GTV": {}, "Node": {"margin_mm": 5}}),
        ({"recipe": "each", "targets": {"GTV": 3, "External": 4}}, {"GTV": {}, "Node": {}}),
        (EACH, {}),
    ],
)
def test_margins_by_target_name_those_that_have_none(margin, targets):
    goals = BALLS["goals"][: max(len(targets), 1)]
    with pytest.raises(ConfigError, match="have to name every target that has no margin_mm of its own"):
        prepare(study(targets=targets, goals=goals, strategies=BALLS["strategies"] | {"margins_mm": [margin]}))


def test_isotropic_margins_are_the_same_for_all():
    """Other shapes are each target's own, isotropic where it has none, none where it needs none."""
    found = _together(
        {"A": {ISOTROPIC: np.full(6, 2.0), SMALLEST: np.arange(6.0)}, "B": {ISOTROPIC: np.full(6, 3.0)}}, 0.9
    )
    assert [found[ISOTROPIC][name][0] for name in "AB"] == [3, 3]
    assert found[SMALLEST]["A"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found[SMALLEST]["B"].tolist() == [3] * 6
    with pytest.raises(ConfigError, match="without any margin"):
        _together({"A": {ISOTROPIC: np.zeros(6)}}, 0.9)


def test_the_size_is_that_of_what_is_asked():
    """Of all in the same course: one row. Of each by itself: as large as the target asks that needs most."""
    rng = np.random.default_rng(1)
    one, two = 1 + 0.1 * rng.standard_normal((2, 4000))
    shape = {"A": np.ones(6), "B": np.full(6, 2.0)}
    factor, volume = np.array([0.5, 2.0]), np.array([0.5, 2.0]) ** 3
    together = Sized(shape, factor, volume, np.maximum(one, two)[None], np.maximum(one, two)[None])
    each = Sized(shape, factor, volume, np.array([one, two + 0.1]), np.array([one, two + 0.1]))
    assert together.sides_mm(0.81)["A"][0] == pytest.approx(1.128, abs=0.01)  # both below 1 + 0.1 z with z of 90 %
    assert together.sides_mm(0.81)["B"][0] == pytest.approx(2 * 1.128, abs=0.02)
    assert each.sides_mm(0.9)["A"][0] == pytest.approx(1.228, abs=0.01)
    assert np.cbrt(each.needed_cc(0.9)[0]) == pytest.approx(1.228, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"targets": {"GTV": {"margin_mm": 3}, "Node": {"margin_mm": 3}}},
            {},
            "every target has a margin_mm of its own",
        ),
        ({"decision": {"target_goals": ["GTV D98% >= 95%"]}}, {}, "asks nothing of a target"),
        (WITH_CORD, {"organ": "Cord"}, "--organ: margins away from an organ are searched for one target alone"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        search_margins(study(**changes), executor=SerialExecutor(), **options)


@pytest.mark.nightly
@pytest.mark.parametrize("coverage", ["together", "each"])
def test_found_ptvs_cover_all_targets_in_unseen_courses(coverage, tmp_path):
    """90 % in other courses, within what two samples of 2000 scatter; each target's share of the risk is its own."""
    found = search_margins(study(courses=2000, decision={"coverage": coverage}), executor=SerialExecutor())
    results = run(found.study, workers=1)
    assert found.targets == ("GTV", "Node")
    each = results["targets/probability"].values
    asked = (
        results["joint/probability"].sel(joint="wanted coverage").values if coverage == "together" else each.min(axis=1)
    )
    allowed = 4 * np.sqrt(2 * 0.9 * 0.1 / 2000)
    for name in found.sized:
        assert asked[found.candidates[name]] == pytest.approx(0.9, abs=allowed)
    assert np.ptp(found.sides_mm[found.candidates[ISOTROPIC]]) == 0
    gtv, node = found.sides_mm[found.candidates[SMALLEST]]
    assert np.all(node > gtv)  # its registration besides
    assert found.saving(SMALLEST, ISOTROPIC).low > 0.05
    columns, rows = table_of(found, results)
    assert rows[1][1].startswith("GTV ")
    assert "PTVs (cc)" in columns
    write_margins(found, results, tmp_path)
    assert "Node left_mm" in (tmp_path / "margins.csv").read_text(encoding="utf-8")
    assert "the smallest PTV has" in " ".join(sentences(found, results))


@pytest.mark.nightly
def test_a_target_with_a_margin_of_its_own_keeps_it():
    found = search_margins(study(targets={"GTV": {}, "Node": {"margin_mm": 8}}), executor=SerialExecutor())
    for name in found.sized:
        assert found.sides_mm[found.candidates[name], 1].tolist() == [8.0] * 6
        assert found.sides_mm[found.candidates[name], 0].max() < 8
