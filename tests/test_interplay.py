"""Interplay: breathing meets the part of the plan that is on."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from drawing import setting, strategy
from inverse_plans import Solid, patient
from scipy.special import ndtr
from test_accumulate import motion, ragged_patch
from test_conformal_arc import planned
from test_parts import DOSE, Half, Parted, Ramp

from simulator.accumulation.parts import MetInParts
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.case.structures import Structure, sample_structure
from simulator.plan.arc_parts import Sector, ends_of, sectors
from simulator.plan.beam_model import Apertures
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.dose import DosePart
from simulator.problem.nearest import nearest_organs
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver, setting_in_time
from simulator.sampling.streams import Draws
from simulator.strategy.guidance import OnlineTarget
from simulator.strategy.motion import BreathHold, Gating, InternalTargetVolume, Tracking
from simulator.strategy.session import Session
from simulator.uncertainty import Uncertainty


def breathing(**changes) -> Uncertainty:
    """A target that breathes by 10 mm along SI."""
    return Uncertainty.model_validate({"respiration": {"amplitude_mm": (0, 0, 10), **changes}})


def in_time(uncertainty, motion=None, guidance=None, *, apart_s=1.0, n_courses=4, seed=1, **parameters):
    """What a strategy makes of courses whose instants follow each other in time."""
    own = strategy(motion, guidance)
    place = setting_in_time(setting(uncertainty, **parameters), own, apart_s)
    return deliver(draw_courses(place, Draws(seed, 0, n_courses)), own, place), place


# The parts of an arc.


def test_a_sector_lasts_as_its_monitor_units_say_or_as_the_gantry_needs():
    """Two sectors of 60 degrees, 10 s each at the most; the rate makes all of them last as long as the beam is on."""
    some = [Sector(0, (0,), 1.0, 3.0, 60.0), Sector(1, (1,), 1.0, 1.0, 60.0)]
    np.testing.assert_allclose(ends_of(some, 100.0), [0.75, 1.0])
    np.testing.assert_allclose(
        ends_of(some, 30.0), [2 / 3, 1.0]
    )  # the second at the gantry's 10 s, the first has the rest
    np.testing.assert_allclose(ends_of(some, 12.0), [0.5, 1.0])  # quicker than the gantry: evenly
    still = [replace(sector, degrees=0.0) for sector in some]
    np.testing.assert_allclose(ends_of(still, 1.0), [0.75, 1.0])


def test_sectors_follow_the_arc_and_go_back_in_a_second_pass():
    """Two control points of 20 degrees, delivered from four angles 5 degrees apart each: sectors of 10 degrees."""
    found = sectors([0] * 4 + [1] * 4, [1.0, 3.0, 2.0, 2.0], [20.0, 20.0])
    assert [s.beams for s in found[:4]] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert [s.aperture for s in found] == [0, 0, 1, 1, 3, 3, 2, 2]
    assert [s.beams for s in found[4:]] == [(6, 7), (4, 5), (2, 3), (0, 1)]
    assert {s.degrees for s in found} == {10.0}
    assert sum(s.weight for s in found) == pytest.approx(8.0)


@pytest.fixture(scope="module")
def arc_plan():
    """A ball in water with a cord behind it, half an arc of 30 degrees a control point, which parts halve and third."""
    model = ConformalArc.model_validate(
        {"arcs": [{"start_deg": 200, "stop_deg": 20, "spacing_deg": 30}], "dose_grid_mm": 4.0}
        | {"block_margin_mm": -1, "axial_margin_mm": 3}
    )
    return planned(model, patient(), 3.0)


BOX = np.full(3, -14.0), np.full(3, 14.0)


def inside(n=2000):
    return np.random.default_rng(0).uniform(-14, 14, (n, 3))


def test_the_sum_of_the_parts_is_the_plan(arc_plan):
    density, at = patient().density, inside()
    parts = arc_plan.parts_in(density, 60.0, BOX)
    assert len(parts) == 18
    assert parts[0].begin == 0
    assert parts[-1].end == 1
    assert all(one.end == two.begin for one, two in pairwise(parts))
    whole = arc_plan.dose.at(at)
    np.testing.assert_allclose(np.sum([part.dose.at(at) for part in parts], axis=0), whole, atol=1e-3, rtol=0)
    half = arc_plan.scaled(0.5)
    summed = np.sum([part.dose.at(at) for part in half.parts_in(density, 60.0, BOX)], axis=0)
    np.testing.assert_allclose(summed, half.dose.at(at), atol=1e-3, rtol=0)


def test_an_arc_turned_the_other_way_has_its_parts_in_the_other_order(arc_plan):
    model = arc_plan.delivery.model
    (arc,) = model.arcs
    back = arc.model_copy(update={"start_deg": arc.stop_deg, "stop_deg": arc.start_deg})
    other = planned(model.model_copy(update={"arcs": (back,)}), patient(), 3.0)
    forth, back_again = (plan.parts_in(patient().density, 60.0, BOX) for plan in (arc_plan, other))
    at = inside(200)
    for one, two in zip(forth, back_again[::-1], strict=True):
        np.testing.assert_allclose(two.dose.at(at), one.dose.at(at), atol=1e-3, rtol=0)
        assert (two.begin, two.end) == pytest.approx((1 - one.end, 1 - one.begin))


def test_two_passes_are_parts_one_after_the_other(arc_plan):
    """The same apertures twice at half the weight: the same dose, the gantry there and back."""
    delivery = arc_plan.delivery
    halved = tuple(w / 2 for w in delivery.apertures.weight)
    twice = replace(delivery, apertures=Apertures(delivery.apertures.rows * 2, halved * 2))
    once, parts = (d.parts(patient().density, 60.0, BOX) for d in (delivery, twice))
    at = inside(200)
    for i, part in enumerate(parts):
        same = once[i] if i < len(once) else once[2 * len(once) - 1 - i]
        np.testing.assert_allclose(part.dose.at(at), same.dose.at(at) / 2, atol=1e-3, rtol=0)


# Breathing as a path in time.


def test_breathing_goes_on_without_a_break():
    """At any times the positions are those of one path, whose speed is what amplitude and period allow."""
    uncertainty = breathing(period_s=4.0, period_cv=0.2, breath_cv=0.3, fraction_cv=0.2)
    coarse, _ = in_time(uncertainty, apart_s=0.2)
    fine, place = in_time(uncertainty, apart_s=0.04)
    step_s = np.diff(place.moment_s[0]).mean()
    path = fine.internal_mm["GTV"][..., 2]
    np.testing.assert_allclose(coarse.internal_mm["GTV"][..., 2], path[..., 2::5], atol=1e-9)
    assert np.abs(np.diff(path, axis=2)).max() / step_s < 10 * 3 * np.pi / 2
    assert np.ptp(path, axis=2).min() > 5


def test_breaths_vary_as_stated_at_every_moment():
    """Log-normal with the stated coefficient of variation, within breaths and between them, and only from breath to breath."""
    uncertainty = breathing(period_s=4.0, breath_cv=0.3)
    place = setting_in_time(setting(uncertainty, n_fractions=1), strategy(), 1.0)
    breath = draw_courses(place, Draws(2, 0, 3000)).breathing.breath[:, 0]
    np.testing.assert_allclose(breath.std(axis=0), 0.3, atol=0.03)
    np.testing.assert_allclose(breath.mean(axis=0), 1.0, atol=0.03)
    of_log = np.corrcoef(np.log(breath).T)
    np.testing.assert_allclose(np.diag(of_log, 8), 0, atol=0.08)
    assert of_log[0, 1] > 0.8


def test_the_breaths_of_a_longer_session_begin_like_those_of_a_shorter_one():
    uncertainty = breathing(breath_cv=0.3)
    short, long = (
        in_time(uncertainty, session=Session(dose_rate_gy_per_min=rate), apart_s=1.0)[0].internal_mm["GTV"]
        for rate in (10.0, 0.5)
    )
    np.testing.assert_allclose(long[:, :, : short.shape[2]], short, atol=1e-9)


@pytest.mark.parametrize(("periods", "percent"), [(1.5, (14.4, 11.4, 9.6)), (10.5, (2.1, 1.6, 1.4)), (4.0, (0, 0, 0))])
def test_a_fraction_that_ends_within_a_breath(periods, percent):
    """Planned at exhale 5 mm inside an edge of 3.2 mm, breathing by 10 mm, a dose has over starting phases for n = 1, 2, 3 an
    SD of sqrt(sum |q_k|^2 sinc^2(k T / tau)) / q_0, q_k the Fourier coefficients of the dose over the cycle."""
    for n, wanted in zip((1, 2, 3), percent, strict=True):
        session = Session(dose_rate_gy_per_min=10 / (periods * 5.0 / 60))
        delivery, _ = in_time(breathing(n=n, period_s=5.0), n_courses=400, n_fractions=1, session=session, apart_s=0.05)
        depth = np.cos(np.pi * np.arange(4000) / 4000) ** (2 * n)
        towards_inhale_mm = 10 * depth.mean() - delivery.motion("GTV").shift_mm[..., 2]
        gy = ndtr((5 - towards_inhale_mm) / 3.2).mean(axis=1)
        q = np.fft.fft(ndtr((5 - 10 * depth) / 3.2)) / 4000
        k = np.arange(1, 200)
        truth = np.sqrt(2 * np.sum(np.abs(q[k]) ** 2 * np.sinc(k * periods) ** 2)) / q[0].real
        assert 100 * gy.std() / gy.mean() == pytest.approx(100 * truth, rel=0.08, abs=0.02)
        assert 100 * truth == pytest.approx(wanted, rel=0.05, abs=0.1)


def test_images_show_the_mean_of_the_breathing_not_what_the_beam_will_meet():
    """A match on the target cannot know how a slow breath will lie during the beam; a beam that follows it does."""
    uncertainty = breathing(period_s=30.0)
    guided, _ = in_time(uncertainty, None, OnlineTarget(match_mm=(0, 0, 0), couch_mm=(0, 0, 0)))
    np.testing.assert_allclose(guided.bone_mm, 0, atol=0.02)
    follows = Tracking(latency_s=0.0, error_systematic_mm=(0, 0, 0), error_mm=(0, 0, 0))
    tracked, _ = in_time(uncertainty, follows, OnlineTarget(match_mm=(0, 0, 0), couch_mm=(0, 0, 0)))
    np.testing.assert_allclose(tracked.motion("GTV").shift_mm, 0, atol=1e-9)


# Beam holds fall inside parts.


def test_a_gated_beam_waits_inside_parts():
    """Parts go on only while the beam does: half of the plan is delivered when half of the beam-on time has passed."""
    delivery, place = in_time(breathing(period_s=5.0), Gating(latency_s=0.0), n_courses=3, n_fractions=2, apart_s=0.25)
    motion, on = delivery.motion("GTV"), delivery.weight[0, 0] > 0
    assert 0.3 < on.mean() < 0.6
    first, second = motion.during(0.0, 0.5), motion.during(0.5, 1.0)
    assert first.weight.shape[1] + second.weight.shape[1] >= on.size
    exhale_mm = delivery.internal_mm["GTV"][0, 0, :, 2][on]
    assert np.ptp(exhale_mm) < 0.45 * 10
    assert place.moment_s[0, -1] - place.moment_s[0, 0] > 2 * 0.9 * 150
    np.testing.assert_allclose([first.weight.sum(axis=1), second.weight.sum(axis=1)], 1)


def test_parts_fall_into_the_holds_in_which_they_are_delivered():
    """150 s in eight holds: the first eighth of the plan meets the first hold alone."""
    holds = BreathHold(systematic_mm=(0, 0, 0), hold_mm=(0, 0, 3), hold_s=20, pause_s=20)
    delivery, _ = in_time(breathing(), holds, n_courses=3, n_fractions=1)
    motion = delivery.motion("GTV")
    for k in range(8):
        met = motion.during(k / 8, (k + 1) / 8)
        places = [np.unique(row[w > 1e-9, 2].round(6)) for row, w in zip(met.shift_mm, met.weight, strict=True)]
        assert [len(p) for p in places] == [1, 1, 1]
    assert len(np.unique(motion.shift_mm[0, :, 2].round(6))) == 8


# Doses.


def doses_of(course, dose=DOSE):
    return StructureDoses(
        dose, [ragged_patch(1.5, 5)], Reach.of(course), 0.5, np.random.default_rng(2).uniform(-3, 3, (20, 3))
    )


def test_identical_parts_give_the_static_dose_on_the_same_instants():
    delivery, _ = in_time(breathing(), InternalTargetVolume(), n_fractions=2, n_courses=2, apart_s=4.0)
    course = delivery.motion("GTV")
    doses = doses_of(course)
    ends = np.linspace(0, 1, 5)
    own = Half(Half(DOSE))
    parted = doses.in_parts(tuple(DosePart(own, a, b) for a, b in pairwise(ends)))
    gy = doses.accumulate(course)
    np.testing.assert_allclose(parted.accumulate(course), gy, atol=1e-5, rtol=0)
    np.testing.assert_allclose(parted.extremes(gy, course), doses.extremes(gy, course), atol=1e-5, rtol=0)
    squares = [d.fraction_sums(gy, course, 2).squares_gy2 for d in (parted, doses)]
    np.testing.assert_allclose(*squares, rtol=1e-5)
    assert isinstance(parted.parts[0], MetInParts)


def ramps(n=12):
    """Parts that rise towards SI and fall, in turn, more and more: their sum is flat."""

    class Slope(Ramp):
        def at(self, points_mm):
            return 1 + self.gy_per_mm * points_mm[:, 2]

    ends = np.linspace(0, 1, n + 1).tolist()
    return Parted(tuple(DosePart(Slope(0.05 * (-1) ** i), a, b) for i, (a, b) in enumerate(pairwise(ends))))


def changes(period_s, n_fractions=1, apart_s=0.25, n_courses=60, **more):
    """What interplay does to the dose of points, (course,): here of all alike, as the parts are ramps."""
    session = Session(dose_rate_gy_per_min=10 / (60 / 60))
    delivery, _ = in_time(
        breathing(period_s=period_s, **more),
        n_fractions=n_fractions,
        session=session,
        apart_s=apart_s,
        n_courses=n_courses,
    )
    course, dose = delivery.motion("GTV"), ramps()
    doses = doses_of(course, dose)
    return (doses.in_parts(dose.parts).accumulate(course) - 12.0)[:, 0]


def test_breathing_much_faster_than_a_part_converges_to_the_blurred_dose():
    slow, fast = changes(period_s=10.0), changes(period_s=1.0, apart_s=0.05)
    assert slow.std() > 0.5
    assert fast.std() < 0.02 * slow.std()


def test_many_fractions_average_it_out():
    """The spread falls as one over the square root of the number of fractions, about the blurred dose."""
    found = [changes(10.0, n, n_courses=400, apart_s=0.5) for n in (1, 4, 16)]
    sd = np.array([change.std() for change in found])
    np.testing.assert_allclose(sd * np.sqrt([1, 4, 16]), sd[0], rtol=0.12)
    assert abs(found[1].mean()) < 4 * sd[1] / 20


@pytest.mark.parametrize(("apart_s", "percent"), [(1.0, 60), (0.5, 12), (0.25, 4)])
def test_finer_instants_converge_from_above(apart_s, percent):
    """Parts of 5 s, breaths of 4 s: whatever is left of them after 15 breaths, seen at its n-th harmonic by instants some
    seconds apart, is larger by 1 / sinc(n apart / 4 s)."""
    often, seldom = (changes(period_s=4.0, apart_s=apart) for apart in (0.05, apart_s))
    assert 1 <= seldom.std() / often.std() < 1 + percent / 100
    assert np.corrcoef(often, seldom)[0, 1] > 0.99


def test_a_square_wave_in_step_with_two_parts_met_in_parts():
    """The first part meets tissue at +a, the second at -a: D = d1(x + a) + d2(x - a), not the mean of the sum."""
    a = 3.0
    course = motion([[[a, 0, 0], [-a, 0, 0]] * 2], n_fractions=2)
    dose = Parted((DosePart(Ramp(0.5), 0.0, 0.5), DosePart(Ramp(-0.2), 0.5, 1.0)))
    whole = doses_of(course, dose)
    x = whole.points_mm[:, 0]
    expected = 20 + 0.5 * (x + a) - 0.2 * (x - a)
    np.testing.assert_allclose(whole.in_parts(dose.parts).accumulate(course)[0], expected, atol=1e-4)


def test_the_nearest_organs_are_those_whose_cells_lie_nearest_to_a_target():
    """Blocks 4, 8 and 20 mm away and a body that holds the target, which is none of them."""
    far_mm = {"Cord": 8.0, "Bowel": 4.0, "Kidney": 20.0}
    target = Structure("GTV", "target", Solid((-9.0, -9.0, -9.0), (9.0, 9.0, 9.0)))
    blocks = {name: Solid((9.0 + mm, -5.0, -5.0), (19.0 + mm, 5.0, 5.0)) for name, mm in far_mm.items()}
    body = {"External": Solid((-40.0, -40.0, -40.0), (60.0, 40.0, 40.0))}
    organs = [Structure(name, "oar", region) for name, region in (body | blocks).items()]
    patches = {organ.name: [sample_structure(organ, max_points=500)] for organ in organs}
    targets = [SimpleNamespace(structure=target)]
    assert nearest_organs(targets, [target, *organs], patches, 2) == ["Bowel", "Cord"]
    assert nearest_organs(targets, [target, *organs], patches, 0) == []
