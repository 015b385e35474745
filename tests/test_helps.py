"""What the answer says would help where no strategy suits: true of the study that is run so."""

import re
from pathlib import Path

import pytest
from synthetic_results import synthetic_results

import simulator
from simulator.report.verdicts import answer_of, first_sentence
from simulator.study_file.schema import StudyConfig

PENUMBRA = {"model": "penumbra", "penumbra_sd_mm": 5, "normalisation": "isodose"}
CONFIGS = Path(__file__).parents[1] / "configs"


def study(limit_gy, **changes):
    return StudyConfig.model_validate(
        {
            "name": "helps",
            "case": {"phantom": "sphere", "radius_mm": 8, "organs": {"Heart": {"radius_mm": 10, "gap_mm": 12}}},
            "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
            "plan": PENUMBRA,
            "uncertainty": {"setup": {"systematic_mm": 1.5, "random_mm": 1.5}},
            "strategies": {"margins_mm": [5], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%", f"Heart D0.035cc <= {limit_gy} Gy"],
            "numerics": {"max_points": 1000},
            "courses": 200,
        }
        | changes
    )


def doses_in(text, pattern):
    return [float(number) for number in re.search(pattern, text).groups()]


def verdict(config):
    return simulator.run(config)["decision/verdict"].item()


@pytest.mark.nightly
def test_the_prescription_at_which_a_plan_that_covers_would_suit():
    results = simulator.run(study(40))
    assert results["decision/verdict"].item() == "covers, but"
    why, what_helps = answer_of(results)
    assert re.search(
        r"the 95th percentile of courses of [\d.]+ and [\d.]+ Gy for Heart D0.035cc <= 40 Gy \(met in", why
    )
    (gy,) = doses_in(what_helps, r"would suit up to a prescription of ([\d.]+) Gy")
    low, high = doses_in(what_helps, r"95 % interval ([\d.]+) to ([\d.]+) Gy")
    assert low == gy < high < 50
    for dose_gy, expected in ((low - 0.1, "suits"), ((low + high) / 2, "undecided"), (high + 0.1, "covers, but")):
        rx = {"dose_gy": dose_gy, "fractions": 5, "isodose_percent": 80}
        assert verdict(study(40, prescription=rx)) == expected


@pytest.mark.nightly
def test_the_prescriptions_at_which_a_plan_that_spares_would_suit():
    """Doses scaled up cover what is asked for, as long as the organ bears it."""
    narrow = {"strategies": {"margins_mm": [2], "motion": ["none"], "guidance": ["none"]}}
    results = simulator.run(study(60, **narrow))
    assert results["decision/verdict"].item() == "spares, but"
    low, high = doses_in(first_sentence(results), r"would suit at prescriptions from ([\d.]+) to ([\d.]+) Gy")
    assert 50 < low < high
    for gy, suits in ((low + 0.1, True), (high - 0.1, True), (low - 0.5, False), (high + 0.5, False)):
        scaled = study(60, **narrow, plan=PENUMBRA | {"scale": gy / 50})
        assert (verdict(scaled) == "suits") == suits


def test_the_source_of_error_that_costs_most_is_named_where_a_budget_was_asked_for():
    assert "Of the sources of error" not in first_sentence(simulator.run(study(51)))
    results = simulator.run(study(51, budget={"courses": 100}))
    budget = results["budget"].to_dataset().isel(strategy=0).sel(goal="Heart D0.035cc <= 51 Gy")
    best = budget["source"].values[budget["without"].values.argmax()]
    assert f"Of the sources of error, {best} costs Heart D0.035cc <= 51 Gy most: " in answer_of(results)[-1]


def test_a_source_that_costs_less_than_what_is_told_apart_is_not_blamed():
    results = synthetic_results(margins_mm=(0.0,))
    budget, nearest = results["budget"].to_dataset(), results["decision"].attrs["nearest_miss"]
    for gain, said in (
        (0.005, "No single source of error costs the coverage 1 point or more"),
        (0.05, "costs the coverage most"),
    ):
        without = budget["coverage"] + gain + 0 * budget["coverage_without"]
        results["budget"] = budget.assign(coverage_without=without.transpose("strategy", "source")).assign_coords(
            strategy=[nearest]
        )
        assert said in answer_of(results)[-1]


@pytest.mark.nightly
def test_a_node_among_organs_that_no_motion_management_saves_is_recommended_nothing():
    """The organ risk is all but certain for every strategy: covering is not suiting."""
    raw = simulator.load_study(CONFIGS / "mediastinal_node.yaml").model_dump() | {
        "plan": {"model": "conformal-arc"},
        "strategies": {
            "margins_mm": ["van-herk"],
            "motion": ["itv", "gating", "breath-hold", "tracking"],
            "guidance": ["online-bone"],
        },
        "courses": 200,
    }
    results = simulator.run(StudyConfig.model_validate(raw))
    decision = results["decision"].to_dataset()
    assert (decision["organs_hold"] == "no").all()
    assert "suits" not in decision["verdict"].values
    assert decision.attrs["recommended"] == ""
    assert (results["joint/probability"].sel(joint="all organ goals") < 0.2).all()
    first = first_sentence(results)
    assert first.startswith("None of 4 strategies suits, so none is recommended.\nThe nearest is “")
    assert re.search(
        r"mandatory limits on organs fail, with an excess .* of [\d.]+ and [\d.]+ Gy for Esophagus D5cc", first
    )
    assert re.search(
        r"would suit up to a prescription of 3\d\.\d Gy|keep every mandatory limit up to a prescription of 3\d\.\d Gy",
        first,
    )
