"""The uncertainty budget against analytic variance shares."""

import numpy as np
import pytest

import simulator
from simulator.answers.budget import _sources
from simulator.ground.conventions import Stream
from simulator.metrics.biology import Biology
from simulator.population.sensitivity import first_order, total
from simulator.problem.preparation import prepare
from simulator.sampling.streams import Draws, Exchanged
from simulator.strategy.guidance import GuidanceKind
from simulator.strategy.managing import MotionKind
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.delineation import Delineation
from simulator.uncertainty.drift import Drift
from simulator.uncertainty.organs import OrganMotion
from simulator.uncertainty.registration import Isocentre, Registration
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup

N = 4000


def outcomes(function, *sources):
    """Outcome of base and second draws, and with each source's numbers drawn anew."""
    base, second = Draws(3, 0, N), Draws(3 + 2**63, 0, N)
    new = [Exchanged(base, second, frozenset({s})) for s in sources]
    return [function(d) for d in (base, second, *new)]


def test_shares_of_a_linear_outcome_are_analytic():
    def mean_of_course(draws):
        return 3 * draws.normals(Stream.SETUP_SYSTEMATIC, 1)[:, 0] + 4 * draws.normals(Stream.SETUP_RANDOM, 4).mean(
            axis=1
        )

    base, second, *new = outcomes(mean_of_course, Stream.SETUP_SYSTEMATIC, Stream.SETUP_RANDOM)
    for outcome, share in zip(new, (9 / 13, 4 / 13), strict=True):
        for found in (first_order(outcome, second), total(outcome, base)):
            assert found.low < share < found.high
            assert found.high - found.low < 0.12


def test_an_interaction_belongs_to_the_total_alone():
    def product(draws):
        return draws.normals(Stream.SETUP_SYSTEMATIC, 1)[:, 0] * draws.normals(Stream.SETUP_RANDOM, 1)[:, 0]

    base, second, new = outcomes(product, Stream.SETUP_SYSTEMATIC)
    alone, all_of_it = first_order(new, second), total(new, base)
    assert alone.low < 0 < alone.high
    assert all_of_it.low < 1 < all_of_it.high


def test_a_constant_outcome_has_no_shares():
    constant = np.full(50, 3.0)
    assert first_order(constant, constant).value == total(constant, constant).value == 0


def test_every_stream_belongs_to_one_source():
    kinds = (
        Setup,
        Drift,
        Baseline,
        Respiration,
        OrganMotion,
        Registration,
        Delineation,
        Isocentre,
        GuidanceKind,
        MotionKind,
    )
    listed = [stream for kind in (*kinds, Biology) for streams in kind.streams.values() for stream in streams]
    assert sorted(listed) == sorted(Stream)


def study(**changes):
    return StudyConfig.model_validate(
        {
            "name": "budget",
            "case": {"phantom": "sphere", "radius_mm": 8},
            "prescription": {"dose_gy": 50, "fractions": 4, "isodose_percent": 95},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2, "normalisation": "plateau"},
            "uncertainty": {"setup": {"systematic_mm": [3, 0, 0], "random_mm": [2, 0, 0]}},
            "strategies": {"margins_mm": [2, 6], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%", "GTV Dmean >= 99%"],
            "courses": 200,
            "budget": {"courses": 300, "strategies": ["none, 2 mm, none"]},
            "numerics": {"max_points": 1000, "block_courses": 100},
        }
        | changes
    )


@pytest.mark.nightly
def test_a_study_names_the_source_to_mend_first():
    found = simulator.run(study())["budget"].to_dataset().sel(strategy="none, 2 mm, none", metric="GTV D98%")
    assert found["source"].values.tolist() == ["setup, systematic", "setup, random"]
    assert (found["total"] >= found["first_order"] - 0.1).all()
    assert found["total_low"].sel(source="setup, systematic") > found["total_high"].sel(source="setup, random")
    without = simulator.run(study(uncertainty={"setup": {"random_mm": [2, 0, 0]}}, budget=None, courses=300))
    expected = without["goals/probability"].sel(strategy="none, 2 mm, none")
    np.testing.assert_array_equal(found["without"].sel(source="setup, systematic"), expected)
    np.testing.assert_array_equal(
        found["coverage_without"].sel(source="setup, systematic"), expected.sel(goal="GTV D98% >= 95%")
    )


@pytest.mark.nightly
def test_the_budget_does_not_depend_on_workers_or_blocks():
    few = {"courses": 100, "budget": {"courses": 150, "strategies": ["none, 2 mm, none"]}}
    one = simulator.run(study(**few), workers=1)["budget"].to_dataset()
    numerics = {"max_points": 1000, "block_courses": 70}
    two = simulator.run(study(numerics=numerics, **few), workers=2)["budget"].to_dataset()
    assert one.equals(two)


@pytest.mark.parametrize("missing", ["none, 3 mm, none"])
def test_an_unknown_strategy_is_named(missing):
    with pytest.raises(ValueError, match=r"budget.strategies: 'none, 3 mm, none' is not a strategy"):
        study(budget={"strategies": [missing]})


def test_sources_are_those_that_change_what_is_delivered_or_what_tissue_makes_of_it():
    """What is not known of delineation acts on the true target alone, a tumour's alpha on its response alone."""
    tcp = {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}
    for spread, n_sources in (({}, 2), ({"alpha_sd_per_gy": 0.05}, 3)):
        problem = prepare(
            study(
                uncertainty={"delineation": {"sd_mm": 1, "known": {"factor": 1.5}}},
                biology={"tcp": {"GTV": tcp | spread}},
                goals=["GTV D98% >= 95%", "GTV TCP >= 50 %"],
            )
        )
        found = _sources(problem, problem.strategies[0])
        assert list(found)[:2] == ["delineation", "what is not known of delineation"]
        assert len(found) == n_sources
