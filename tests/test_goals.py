"""The goal language."""

import re

import numpy as np
import pytest

from simulator.ground.spec import ConfigError
from simulator.metrics.contradictions import check_goals
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.extent import LeftOut
from simulator.metrics.goals import is_goal, parse_goal
from simulator.metrics.kinds import parse_metric


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
        ("GTV DC0.035cc >= 95%", "GTV DC0.035cc", "%", ">=", 95),
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
        ("GTV D98% >= 9_5%", "'9_5' is not a number"),
        ("GTV D98% >= ９５%", "'９５' is not a number"),
        ("GTV D９８% >= 95%", "unknown metric 'D９８%'"),
        ("GTV D98% >= many", "'many' is not a number"),
        ("GTV Q98% >= 95%", "unknown metric 'Q98%'"),
        ("Tumor Bed D98% >= 95%", "a structure whose name has blanks needs another name, by case.aliases"),
        ("SpinalCord D0.035 <= 20 Gy", "SpinalCord D0.035: say of what, D0.035cc or D0.035%"),
        ("GTV D0cc >= 95%", "larger than 0 cc"),
        ("GTV DC0cc >= 95%", "larger than 0 cc"),
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
        ("GTV EQD2(10):D98% >= 5001 Gy", "between 0 and 5000 Gy, not at 5001"),
    ],
)
def test_unreadable_goals_say_how_goals_are_written(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_goal(text)


@pytest.mark.parametrize(
    ("text", "percent"), [("GTV Dmin >= 90%", 100), ("GTV D98% >= 95%", 98), ("GTV D50% >= 99%", 50)]
)
def test_what_part_of_the_volume_a_goal_is_about(text, percent):
    assert parse_goal(text).metric.part_percent == percent


def test_the_cc_that_a_goal_is_about():
    texts = ("Cord D0.035cc <= 30 Gy", "Cord D5% <= 30 Gy", "Cord DC0.035cc <= 30 Gy", "Cord V20Gy <= 5 cc")
    assert [parse_goal(text).metric.part_cc for text in texts] == [0.035, None, None, None]


def test_biological_doses_may_be_larger_than_physical_ones():
    """3 fractions of 20 Gy are a BED of 60 (1 + 20 / 2) = 660 Gy for α/β = 2 Gy."""
    assert parse_goal("SpinalCord BED(2):D0.035cc <= 660 Gy").limit == 660


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


def test_the_dose_outside_the_coldest_cc_is_that_of_the_rest():
    """2 of 10 cc are cold, whichever they are; where courses differ in volume, of each its own; a whole target may be cold."""
    dose = np.array([[10.0, 20.0, 30.0, 40.0], [40.0, 30.0, 20.0, 10.0]], np.float32)
    metrics = [parse_metric("X", name) for name in ("DC2cc", "D80%", "D8cc", "DC15cc")]
    volume = np.array([1.0, 2.0, 3.0, 4.0])
    values = evaluate_metrics(metrics, dose, volume, 50.0)
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    np.testing.assert_array_equal(values[:, 0], values[:, 2])
    np.testing.assert_array_equal(values[:, 3], [40, 40])
    smaller = evaluate_metrics(metrics[:2], dose, np.stack([volume, volume / 5]), 50.0)
    np.testing.assert_array_equal(smaller, [[20, 20], [40, 10]])
    with pytest.raises(ConfigError, match=r"goal on 'X DC2cc': X has only 1\.5 cc"):
        metrics[0].check_volume(1.5)


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
    check_goals([parse_goal("GTV Dmean >= 95%"), parse_goal("GTV Dmean <= 95%")], 50.0)


def test_goals_are_told_from_libraries_and_files():
    texts = ["GTV D98% >= 95%", " mediastinal-5fx ", "my goals.yaml", "ours/goals.yml", "GTV Dmean>=95%"]
    assert [is_goal(text) for text in texts] == [True, False, False, False, True]


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
        ("GTV Dmin >= 95%", "GTV DC0.035cc <= 90%"),
        ("GTV DC0.035cc >= 95%", "GTV DC0.1cc <= 90%"),
        ("GTV DC0.035cc >= 60 Gy", "GTV Dmax <= 55 Gy"),
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
             "GTV DC0.035cc <= 90%", "GTV DC0.1cc >= 95%",
             "Heart D98% <= 5 Gy", "Heart V20Gy <= 10%", "Heart V20Gy >= 50 cc", "GTV BED(10):D98% <= 10 Gy",
             "Liver Dmean >= 20 Gy", "Liver Dmin <= 5 Gy", "Cord Dmax >= 30 Gy", "Cord Dmean <= 10 Gy"]  # fmt: skip
    check_goals([parse_goal(text) for text in texts], 50.0)


def test_percent_of_a_volume_is_not_of_the_prescription():
    goal = parse_goal("Lungs V20Gy <= 10 %")
    np.testing.assert_array_equal(goal.in_goal_unit(np.array([9.0, 11.0]), 50.0), [9, 11])
    np.testing.assert_array_equal(goal.is_met(np.array([9.0, 10.0, 11.0]), 50.0), [True, True, False])
    np.testing.assert_array_equal(parse_goal("GTV TCP >= 90 %").is_met(np.array([46.0, 90.0]), 50.0), [False, True])


@pytest.mark.parametrize(("op", "met"), [("<=", (1, 1, 0)), ("<", (1, 0, 0)), (">=", (0, 1, 1)), (">", (0, 0, 1))])
def test_a_value_on_the_limit_meets_it_as_the_operator_says(op, met):
    """To the millionth that float32 rounds by, and no more."""
    goal = parse_goal(f"Heart Dmean {op} 20 Gy")
    for rounding in (-1e-5, 0, 1e-5):
        values = np.array([19.9999, 20 + rounding, 20.0001])
        np.testing.assert_array_equal(goal.is_met(values, 50.0), np.array(met, bool))


@pytest.mark.parametrize(("name", "threshold"), [("V20Gy", 20.0), ("V33.3Gy", 33.3), ("V95%", 47.5), ("V66.6%", 33.3)])
def test_a_volume_at_a_dose_has_that_dose_to_a_hundredth_of_a_percent(name, threshold):
    """Four points of 1 to 4 cc just below and on the threshold; 33.3 Gy is less in float32."""
    dose = np.float32(threshold * np.array([[0.99, 0.9999, 1.0, 1.0001]]))
    volume = np.array([1.0, 2.0, 3.0, 4.0])
    metrics = [parse_metric("X", name, "cc"), parse_metric("X", name)]
    np.testing.assert_allclose(evaluate_metrics(metrics, dose, volume, 50.0)[0], [7, 70])


def test_points_left_out_count_where_their_doses_are():
    """Points of 30 and 20 Gy, 1 cc each, known alone of 10 cc: 2 cc are hotter and 6 cc colder."""
    dose, volume = np.array([[30.0, 20.0]], np.float32), np.ones(2)
    metrics = [parse_metric("X", "V25Gy", "cc"), parse_metric("X", "V25Gy"), parse_metric("X", "CV25Gy")]
    metrics += [parse_metric("X", "D3cc"), parse_metric("X", "D35%"), parse_metric("X", "DC7cc")]
    left_out = LeftOut(8.0, np.full(6, 2.0))
    values = evaluate_metrics(metrics, dose, volume, 50.0, left_out=left_out)[0]
    np.testing.assert_allclose(values, [3, 30, 7, 25, 20, 25], rtol=1e-6)


def test_extremes_are_those_of_the_surface_or_where_volumes_differ_of_the_points_inside():
    dose, metrics = np.array([[10.0, 20.0, 30.0]], np.float32), [parse_metric("X", "Dmin"), parse_metric("X", "Dmax")]
    with pytest.raises(ValueError, match="X Dmin needs the doses of the surface"):
        evaluate_metrics(metrics, dose, np.ones(3), 50.0)
    given = np.array([[5.0, 35.0]])
    for volume in (np.ones(3), np.ones((1, 3))):
        np.testing.assert_array_equal(evaluate_metrics(metrics, dose, volume, 50.0, given), given)
    inside = np.array([[1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(evaluate_metrics(metrics, dose, inside, 50.0), [[10, 20]])


def test_a_course_without_a_true_target_covers_nothing():
    """All of 7 cc are cold, no clonogen is hit, and complications are counted as certain."""
    named = {"D98%": 0, "Dmean": 0, "V20Gy": 0, "TCP": 0, "NTCP": 100, "CV20Gy": 7}
    metrics = [parse_metric("GTV", name) for name in named] + [parse_metric("GTV", "CV20Gy", "%")]
    np.testing.assert_array_equal([m.without_target(7.0) for m in metrics], [*named.values(), 100])
