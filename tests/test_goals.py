"""The goal language."""

import re

import numpy as np
import pytest

from simulator.metrics.contradictions import check_goals
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.goals import parse_goal
from simulator.metrics.kinds import parse_metric
from simulator.spec import ConfigError


@pytest.mark.parametrize(
    ("text", "metric", "unit", "operator", "limit"),
    [
        ("GTV D98% >= 95%", "GTV D98%", "%", ">=", 95),
        ("SpinalCord D0.035cc <= 25.3 Gy", "SpinalCord D0.035cc", "Gy", "<=", 25.3),
        ("Esophagus Dmean<20Gy", "Esophagus Dmean", "Gy", "<", 20),
        ("Lungs V20Gy <= 10 %", "Lungs V20Gy", "%", "<=", 10),
        ("Lungs V20Gy <= 300 cc", "Lungs V20Gy [cc]", "cc", "<=", 300),
        ("Liver CV19.1Gy >= 700 cc", "Liver CV19.1Gy", "cc", ">=", 700),
        ("PTV V95% >= 99", "PTV V95%", "%", ">=", 99),
        ("Heart gEUD(a=8) <= 12", "Heart gEUD(a=8)", "Gy", "<=", 12),
        ("GTV Dmin > 45", "GTV Dmin", "Gy", ">", 45),
    ],
)
def test_goals_are_read_as_physicists_write_them(text, metric, unit, operator, limit):
    goal = parse_goal(text)
    assert (goal.metric.label, goal.unit, goal.operator, goal.limit) == (metric, unit, operator, limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GTV 95%", "goal 'GTV 95%' cannot be read; write it like"),
        ("GTV D98% >= many", "'many' is not a number"),
        ("GTV Q98% >= 95%", "unknown metric 'Q98%'"),
        ("Tumor Bed D98% >= 95%", "a structure whose name has blanks needs another name, by case.aliases"),
        ("SpinalCord D0.035 <= 20 Gy", "SpinalCord D0.035: say of what, D0.035cc or D0.035%"),
        ("GTV D0cc >= 95%", "larger than 0 cc"),
        ("GTV D120% >= 95%", "lies in 0-100"),
        ("Lungs V20Gy <= 30 Gy", "its limit is in % or cc, not in Gy"),
        ("Liver CV19Gy >= 700 Gy", "its limit is in cc or %, not in Gy"),
        ("SpinalCord D0.1cc <= 5 cc", "its limit is in Gy or %, not in cc"),
        ("GTV gEUD(a=0) >= 40", "at a = 0 the gEUD is the geometric mean, which"),
        ("GTV gEUD(a=-0.0) >= 40", "the exponent a has to be 0.001 or more, or -0.001 or less"),
        ("GTV gEUD(a=0.0001) >= 40", "the exponent a has to be 0.001 or more"),
        ("GTV D98% >= nan", "between 0 and 500 Gy, not at nan"),
        ("GTV D98% >= inf%", "between 0 and 500 %, not at inf"),
        ("GTV D98% >= 1e999%", "between 0 and 500 %, not at inf"),
        ("GTV D98% >= -95%", "between 0 and 500 %, not at -95"),
        ("GTV D98% >= 9500 %", "between 0 and 500 %, not at 9500"),
        ("SpinalCord Dmax <= -1 Gy", "between 0 and 500 Gy, not at -1"),
        ("SpinalCord D0.035cc <= 2530 Gy", "not at 2530; doses are in Gy, not in cGy"),
        ("SpinalCord D0.035cc <= 2530 cGy", "doses are in Gy, not in cGy; divide by 100"),
        ("SpinalCord D0.035cc <= 2530cGy", "doses are in Gy, not in cGy; divide by 100"),
        ("GTV D98% >= 0.95", "0.95 of what? Write 95% or 0.95 Gy"),
        ("GTV V95% >= 0.98", "0.98 of what? Write 98% or 0.98 %"),
        ("Bladder NTCP <= 0.05", "0.05 of what? Write 5% or 0.05 %"),
        ("GTV V95% >= 120%", "between 0 and 100 %, not at 120"),
        ("Lungs V20Gy <= 101 %", "between 0 and 100 %, not at 101"),
        ("GTV TCP >= 100.1 %", "between 0 and 100 %, not at 100.1"),
        ("Lungs V20Gy <= 1e7 cc", "between 0 and 100000 cc"),
    ],
)
def test_unreadable_goals_say_how_goals_are_written(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_goal(text)


def test_percent_of_prescription():
    goal = parse_goal("GTV D98% >= 95%")
    np.testing.assert_array_equal(goal.is_met(np.array([47.4, 47.5, 50.0]), 50.0), [False, True, True])
    assert goal.in_goal_unit(np.array(47.5), 50.0) == pytest.approx(95)


def test_metrics_of_a_known_distribution():
    dose = np.array([[10.0, 20.0, 30.0, 40.0]], np.float32)
    volume = np.array([1.0, 2.0, 3.0, 4.0])
    names = ["Dmean", "Dmin", "Dmax", "V20Gy", "V75%", "D4cc", "gEUD(a=2)"]
    metrics = [parse_metric("X", name) for name in names] + [
        parse_metric("X", "V30Gy", "cc"),
        parse_metric("X", "CV30Gy"),
        parse_metric("X", "CV30Gy", "%"),
    ]
    values = evaluate_metrics(metrics, dose, volume, 40.0, np.array([[10.0, 40.0]]))[0]
    middle_40, middle_30 = 2.0, 4 + 1.5
    d4 = 40 + (4 - middle_40) / (middle_30 - middle_40) * (30 - 40)
    np.testing.assert_allclose(values, [30, 10, 40, 90, 70, d4, np.sqrt(1000), 7, 3, 30], rtol=1e-6)


@pytest.mark.parametrize(("a", "expected"), [(1000, 40.0), (-1000, 10.0), (-10, 10.0), (0.001, 22.1)])
def test_geud_is_finite_for_every_exponent(a, expected):
    """Near the maximum for large a, near the minimum for small ones, the geometric mean near 0; never inf."""
    dose, volume = np.array([[10.0, 20.0, 30.0, 40.0]], np.float32), np.ones(4)
    goal = parse_goal(f"GTV gEUD(a={a}) >= 45 Gy")
    value = evaluate_metrics([goal.metric], dose, volume, 50.0)[0, 0]
    assert value == pytest.approx(expected * 4 ** (-1 / a) if abs(a) >= 1 else expected, rel=2e-3)
    assert not goal.is_met(value, 50.0)


def test_more_volume_than_the_structure_has_is_refused():
    with pytest.raises(ConfigError, match="Heart has only 100 cc; ask for a smaller volume"):
        parse_metric("Heart", "D150cc").check_volume(100.0)


@pytest.mark.parametrize(
    "texts",
    [
        ("GTV D98% >= 95%", "GTV D98%>=95 %"),
        ("GTV D98% >= 95%", "GTV D98.0% >= 95.00%"),
        ("GTV D98% >= 95%", "GTV D98% >= 47.5 Gy"),
        ("GTV V95% >= 98%", "GTV V47.5Gy >= 98 %"),
        ("Heart Dmean <= 5", "Heart Dmean <= 5 Gy"),
        ("Heart gEUD(a=8) <= 12 Gy", "Heart gEUD(a=8.0) <= 12"),
    ],
)
def test_a_goal_spelled_twice_is_refused(texts):
    with pytest.raises(ConfigError, match="say the same; remove one"):
        check_goals([parse_goal(text) for text in texts], 50.0)


@pytest.mark.parametrize(
    "texts",
    [
        ("GTV D98% >= 95%", "GTV D98% <= 90%"),
        ("GTV D98% >= 95%", "GTV D98% < 47 Gy"),
        ("GTV D98% >= 95%", "GTV D2% <= 90%"),
        ("GTV Dmin >= 95%", "GTV D98% <= 90%"),
        ("GTV D98% >= 60 Gy", "GTV Dmax <= 55 Gy"),
        ("Cord D0.1cc >= 20 Gy", "Cord D0.035cc <= 10 Gy"),
        ("Heart Dmean >= 20 Gy", "Heart Dmax <= 10 Gy"),
        ("Heart Dmean <= 20 Gy", "Heart Dmin >= 30 Gy"),
        ("GTV V95% >= 98%", "GTV V40Gy <= 90%"),
        ("Liver CV19Gy >= 700 cc", "Liver CV20Gy <= 600 cc"),
        ("GTV EQD2(3):D98% >= 60 Gy", "GTV EQD2(3):D2% <= 50 Gy"),
    ],
)
def test_goals_that_no_dose_can_meet_together_are_refused(texts):
    for pair in (texts, texts[::-1]):
        with pytest.raises(ConfigError, match="exclude each other"):
            check_goals([parse_goal(text) for text in pair], 50.0)


def test_goals_that_can_be_met_together_are_not_refused():
    texts = ["GTV D98% >= 95%", "GTV D98% >= 100%", "GTV D2% <= 125%", "GTV D99% <= 90%", "GTV Dmax >= 60 Gy",
             "Heart D98% <= 5 Gy", "Heart V20Gy <= 10%", "Heart V20Gy >= 50 cc", "GTV BED(10):D98% <= 10 Gy"]  # fmt: skip
    check_goals([parse_goal(text) for text in texts], 50.0)
