"""Errors that each of several targets has for itself, of which only so much is known: intervals against brute force."""

import copy

import numpy as np
import pytest
from drawing import setting
from scipy.stats import chi, chi2
from test_targets_of_study import STUDY

import simulator
from simulator.answers.budget import _sources as budget_sources
from simulator.answers.knowledge import Knowledge
from simulator.answers.knowledge_group import knowledge_of
from simulator.answers.unknown import doubted_errors
from simulator.ground.spec import ConfigError
from simulator.problem.preparation import prepare
from simulator.report.knowledge import knowledge_table, known_of_source
from simulator.sampling.courses import draw_courses
from simulator.sampling.streams import Draws, Exchanged
from simulator.simulation.courses import course_draws
from simulator.study_file.schema import StudyConfig
from simulator.study_file.targets import TargetOfStudy
from simulator.uncertainty import Uncertainty

ALLOWED_MM, N, SEED = 5.3, 3000, 7
ALIKE = {"axes": "alike", "mean_se_mm": 0}
OF_15, OF_30 = ({"patients": n} | ALIKE for n in (15, 30))


def shift(sd_mm, known=None):
    return {"systematic_mm": sd_mm} | ({"known": known} if known else {})


def two_targets(study, node, correlation=0.0):
    """Errors of a GTV, those of the study, and of a Node with its own."""
    errors = Uncertainty.model_validate(study)
    of_node = TargetOfStudy.model_validate(node).errors(errors, "Node")
    place = setting(errors, n_fractions=1, others={"Node": of_node})
    object.__setattr__(place, "baseline_correlation", {"Node": correlation})
    return place


def interval_of(place, key="within_mm"):
    """What is known of the probability that GTV, Node and both lie within what is allowed."""
    draws = [lambda k, n, seed=seed: Draws(seed, k, n) for seed in (SEED, 2**63 + SEED)]
    courses = draw_courses(place, draws[0](0, N))
    moved = [getattr(courses, key)[name].reshape(N, 3) for name in ("GTV", "Node")]
    met = np.array([np.linalg.norm(mm, axis=1) <= ALLOWED_MM for mm in moved])
    found = Knowledge(doubted_errors(place), *draws, 1).interval(np.concatenate([met, met.all(axis=0, keepdims=True)]))
    return np.stack([found.low, found.plug_in, found.high])


def brute_force(correlation, scales):
    """The same from normal numbers and possible spreads in plain numpy; `scales` of the first and the second, (draw, 2)."""
    rng = np.random.default_rng(1)
    first, own = rng.standard_normal((2, 60_000, 3))
    second = correlation * first + np.sqrt(1 - correlation**2) * own
    far = [np.linalg.norm(z, axis=1) for z in (first, second)]
    found = []
    for one, two in [*scales, (2.0, 2.0)]:
        within = far[0] <= ALLOWED_MM / one, far[1] <= ALLOWED_MM / two
        found.append([within[0].mean(), within[1].mean(), (within[0] & within[1]).mean()])
    p = np.array(found)
    return np.stack([np.quantile(p[:-1], 0.025, axis=0), p[-1], np.quantile(p[:-1], 0.975, axis=0)])


def spreads(patients, n=200):
    """Σ that may be, of a stated 2 mm from so many patients."""
    x = chi2.ppf((np.random.default_rng(patients).permutation(n) + 0.5) / n, patients - 1)
    return 2 * np.sqrt((patients - 1) / x)


ONE = shift(2, OF_15), {}, 15, None
SECOND = shift(2), {"baseline": shift(2, OF_15)}, np.inf, 15
OWN = shift(2, OF_15), {"baseline": shift(2, OF_30)}, 15, 30


@pytest.mark.parametrize(
    ("study", "node", "of_first", "of_second", "correlation"),
    [
        (*ONE, 0.0),
        (*OWN, 0.7),
        pytest.param(*ONE, 0.7, marks=pytest.mark.nightly),
        pytest.param(*SECOND, 0.0, marks=pytest.mark.nightly),
        pytest.param(*SECOND, 0.7, marks=pytest.mark.nightly),
        pytest.param(*OWN, 0.0, marks=pytest.mark.nightly),
    ],
)
def test_knowledge_of_shifts_of_two_targets(study, node, of_first, of_second, correlation):
    """A doubt that is stated once is one and the same for all targets, one that a target states is its own."""
    first = np.full(200, 2.0) if of_first == np.inf else spreads(of_first)
    second = first if of_second is None else spreads(of_second)
    expected = brute_force(correlation, np.stack([first, second], axis=1))
    found = interval_of(two_targets({"baseline": study}, node, correlation))
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.nightly
def test_one_targets_part_is_told_while_the_others_may_be_as_they_are():
    """With the first's doubt as likely as it is, the second's alone spreads its coverage as if it were studied by itself."""
    place = two_targets({"baseline": shift(2, OF_15)}, {"baseline": shift(2, OF_30)}, 0.7)
    draws = [lambda k, n, seed=seed: Draws(seed, k, n) for seed in (SEED, 2**63 + SEED)]
    moved = draw_courses(place, draws[0](0, N)).within_mm["Node"][:, 0]
    knowledge = Knowledge(doubted_errors(place), *draws, 1)
    assert [part.name for part in knowledge.parts] == ["target shift, course", "Node: target shift, course"]
    met = np.linalg.norm(moved, axis=1) <= ALLOWED_MM
    low, _, high = brute_force(0.0, np.stack([spreads(30)] * 2, axis=1))[:, 1]
    alone = knowledge.interval(met, knowledge.parts[1])
    assert (alone.low, alone.high) == pytest.approx((low, high), abs=0.015)
    others = knowledge.interval(met, knowledge.parts[0])
    assert others.high - others.low < 0.02


def test_the_registration_of_a_target():
    """Its marginal is the closed form of one target, 58 to 100 % (test_reweighting.py)."""
    place = two_targets({"registration": shift(2)}, {"registration": shift(2, OF_15)})
    low, plug_in, high = interval_of(place, "misdrawn_mm").T[1]
    sd = 2 * np.sqrt(14 / chi2.ppf((0.025, 0.5, 0.975), 14))
    expected = chi.cdf(ALLOWED_MM / sd, 3)
    assert (low, high) == pytest.approx((expected[0], expected[2]), abs=0.02)
    assert plug_in == pytest.approx(chi.cdf(ALLOWED_MM / 2, 3), abs=0.01)


def test_the_delineation_of_a_target():
    """One doubt for all targets is one factor, that of a target its own."""
    surface = {"sd_mm": 1, "known": {"factor": 1.5}}
    for node, alike in (({}, True), ({"delineation": surface}, False)):
        place = two_targets({"delineation": surface}, node)
        sizes = [
            place.targets[name].delineation.not_exact()[0].factor(place.numbers_of(name, Draws(1, 0, 50)))
            for name in ("GTV", "Node")
        ]
        assert np.array_equal(*sizes) is alike
        assert len(doubted_errors(place)) == (1 if alike else 2)


KNOWN = {"systematic_mm": 2, "known": {"patients": 60}}


def changed(**keys):
    return StudyConfig.model_validate(copy.deepcopy(STUDY) | keys)


def test_results_name_whose_error_it_is():
    """Intervals and budget by target; other numbers of the Node's registration move the Node alone."""
    problem = prepare(changed(targets={"GTV": {}, "Node": {"registration": KNOWN}}, courses=800))
    draws = course_draws(problem, 0, 800)
    moved = draw_courses(problem.setting, draws).misdrawn_mm
    values = np.full((1, 800, len(problem.metric_labels)), 40.0)
    for target in problem.targets:
        spare_mm = 4 - np.linalg.norm(moved[target.name], axis=1)
        values[0, :, problem.column[f"{target.name} D98%"]] = target.prescription.dose_gy * (0.95 + 0.01 * spare_mm)
    known = knowledge_of(problem, values, ["all"])
    assert known["unknown"].values.tolist() == ["Node: registration"]
    low, high = (known[end].sel(goal=["GTV D98% >= 95%", "Node D98% >= 95%"]).values[0] for end in ("low", "high"))
    assert high[0] - low[0] < 0.02 < 0.1 < high[1] - low[1]
    sources = budget_sources(problem, problem.strategies[0])
    assert list(sources)[-3:] == ["registration", "Node: registration", "Node: what is not known of registration"]
    for source, moves in (("registration", [True, False]), ("Node: registration", [False, True])):
        other = draw_courses(problem.setting, Exchanged(draws, Draws(9, 0, 800), *sources[source])).misdrawn_mm
        assert [not np.array_equal(other[name], moved[name]) for name in ("GTV", "Node")] == moves


@pytest.mark.nightly
def test_the_report_names_whose_error_it_is():
    targets = {"GTV": {}, "Node": {"registration": KNOWN}}
    results = simulator.run(changed(targets=targets, budget={"courses": 50}, courses=800), workers=1)
    budget = results["budget"].to_dataset()
    without, now = budget["target_coverage_without"].values[0], budget["target_coverage"].values[0]
    own, first = ([*budget["source"].values].index(name) for name in ("Node: registration", "registration"))
    assert (without[own, 0], without[first, 1]) == (now[0], now[1])
    assert without[own, 1] > now[1]
    assert "to" in known_of_source(results, budget["strategy"].item(), "Node: registration")
    assert knowledge_table(results)["parts"] == ["Node: registration (known from 60 patients)"]


def test_one_doubted_target_through_the_list_is_the_usual_study():
    usual = STUDY["uncertainty"] | {"registration": KNOWN}
    goals = ["GTV D98% >= 95%"]
    alone, plain = (
        prepare(changed(goals=goals, **keys))
        for keys in ({"targets": {"GTV": {"registration": KNOWN}}}, {"targets": {}, "uncertainty": usual})
    )
    moved = [draw_courses(p.setting, Draws(1, 0, 50)).misdrawn_mm["GTV"] for p in (alone, plain)]
    np.testing.assert_array_equal(*moved)
    parts = [[part.name for part in Knowledge.of(p).parts] for p in (alone, plain)]
    assert parts == [["registration"]] * 2


@pytest.mark.parametrize(
    ("baseline", "correlation", "message"),
    [
        (shift(2, {"patients": 9}) | {"patient_variance_shape": 3}, 0.5, "patients differ in the scale"),
        (shift(2, {"patients": 9}), 1, "one shift is the other"),
        (shift(2, {"posterior": "nowhere.nc"}), 0, r"targets\.Node\.baseline: no file nowhere.nc"),
    ],
)
def test_what_is_not_told_is_refused(baseline, correlation, message):
    node = {"baseline": baseline, "baseline_correlation": correlation}
    with pytest.raises(ConfigError, match=message):
        prepare(changed(targets={"GTV": {}, "Node": node}))


def test_doubt_of_a_target_counts_as_that_of_the_study():
    """Neither `decide` nor observed images go with it."""
    with pytest.raises(ValueError, match=r"targets\.Node\.registration"):
        changed(targets={"GTV": {}, "Node": {"registration": KNOWN}}, decide=True)
