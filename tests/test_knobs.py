"""Every knob turns something: each numeric key of a study changes what is simulated."""

import typing

import numpy as np
import pytest
from drawing import setting

from simulator.case import phantoms
from simulator.ground.spec import Spec
from simulator.metrics.biology import Biology
from simulator.metrics.fraction_sums import FractionSums
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.model import Order
from simulator.plan.penumbra import Penumbra
from simulator.plan.prescription import Prescription
from simulator.plan.targets import Expansion, planning_target
from simulator.problem.margins import plan_request
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.strategy import Strategy
from simulator.strategy import guidance as guidances
from simulator.strategy import margin as margins
from simulator.strategy import motion as motions
from simulator.strategy.session import Session
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.delineation import SurfaceField

EVERYTHING = Uncertainty.model_validate(
    {
        "setup": {"systematic_mm": 1, "random_mm": 1, "mean_mm": 0.5, "correlation": (0.2, 0.1, 0.1)}
        | {"systematic_deg": 1, "random_deg": 1, "mean_deg": 0.5, "isocentre_mm": (1, 2, 3)},
        "drift": {"mean_mm_per_min": 0.1, "sd_mm_per_min": 0.1, "brownian_mm_per_sqrt_min": 0.2},
        "baseline": {"mean_mm": 0.5, "systematic_mm": 1, "random_mm": 1}
        | {"after_imaging_mean_mm": 0.5, "after_imaging_systematic_mm": 0.5, "after_imaging_sd_mm": 1},
        "respiration": {"amplitude_mm": (2, 3, 8), "lag_deg": (0, 20, 0), "n": 2, "period_s": 4, "period_cv": 0.1}
        | {"delivery_factor": 1.1, "course_cv": 0.3, "fraction_cv": 0.1, "breath_cv": 0.1}
        | {"structures": {"Bladder": {"amplitude_mm": (1, 2, 3), "lag_deg": (0, 10, 0)}}},
        "organs": {
            "Bladder": {"mean_mm": 1, "systematic_mm": 2, "random_mm": 2, "degrees_of_freedom": 4, "correlation": 0.3}
            | {"peristalsis_mm": 1, "peristalsis_s": 30, "filling_course_cv": 0.1, "filling_fraction_cv": 0.1}
            | {"filling_cc_per_min": 1.0, "follows_after_imaging": 0.3}
        },
        "registration": {"systematic_mm": 1, "mean_mm": 0.3},
        "delineation": {"sd_mm": 1, "correlation_deg": 40, "mean_mm": 0.2},
        "isocentre": {"systematic_mm": 0.4, "mean_mm": 0.1},
    }
)
SESSION = Session(image_to_beam_s=100, dose_rate_gy_per_min=3, reimaging_s=40)
FIXED = margins.FixedMargin(margin_mm=5)
MOTIONS = [
    motions.Gating(signal="amplitude", latency_s=1.0),
    motions.Gating(signal="phase", latency_s=1.0),
    motions.BreathHold(creep_mean_mm=1, creep_sd_mm=0.5, geometry_mm={"SpinalCord": (0, 1, 0)}),
    motions.Tracking(),
    motions.Compression(systematic_mm=1, random_mm=1),
]
GUIDANCES = [
    guidances.NoActionLevel(measured_fractions=1, couch_mm=0.3),
    guidances.ExtendedNoActionLevel(measured_fractions=1, then_every=2, then_from=3, couch_mm=0.3),
    guidances.OnlineBone(action_level_mm=2, couch_mm=0.3, couch="6D", reimage_every_min=1.0),
    guidances.OnlineTarget(action_level_mm=2, couch_mm=0.3, couch="6D", reimage_every_min=1.0),
]
MARGINS = [
    FIXED,
    margins.AsymmetricMargin(right_mm=1, left_mm=2, anterior_mm=3, posterior_mm=4, inferior_mm=5, superior_mm=6),
    margins.TargetMargins(targets={"GTV": 3, "Bladder": 4}),
    margins.VanHerkMargin(penumbra_sd_mm=3.2),
    margins.FiniteFractionMargin(penumbra_sd_mm=3.2),
]


def turned(spec: Spec) -> list[tuple[str, Spec]]:
    """The spec with each of its numbers changed in turn, by dotted key."""
    found = []
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        for key, other in _others(name, value):
            found.append((key, spec.model_copy(update={name: other})))
    return found


def _others(name, value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int):
        yield name, value + 1
    elif isinstance(value, float):
        yield name, value * 0.9 if value else 0.5
    elif isinstance(value, tuple) and value and all(isinstance(v, int | float) for v in value):
        for axis in range(len(value)):
            yield f"{name}.{axis}", tuple((v * 0.9 if v else 0.5) if i == axis else v for i, v in enumerate(value))
    elif isinstance(value, dict):
        for key, inner in value.items():
            for inner_key, other in turned(inner) if isinstance(inner, Spec) else _others("", inner):
                yield f"{name}.{key}.{inner_key}", value | {key: other}
    elif isinstance(value, Spec):
        for inner_key, other in turned(value):
            yield f"{name}.{inner_key}", other


def signature(uncertainty=EVERYTHING, session=SESSION, motion=MOTIONS[0], guidance=GUIDANCES[3], margin=FIXED) -> list:
    """Everything that reaches the dose: displacements, weights, the true surface, the margin and the planning target."""
    place = setting(
        uncertainty, n_fractions=6, n_instants=12, session=session, isocentre=uncertainty.setup.isocentre_mm,
        others=dict.fromkeys(margin.named - {"GTV"}, uncertainty),
    )  # fmt: skip
    strategy = Strategy(margin=margin, motion=motion, guidance=guidance)
    draws = Draws(3, 0, 6)
    delivery = deliver(draw_courses(place, draws), strategy, place)
    ptvs = plan_request(place, strategy, Penumbra()).ptvs
    arrays = [np.array(mm) for ptv in ptvs for mm in (ptv.margin_mm, ptv.target_path_mm)]
    for name in ("GTV", "SpinalCord", "Bladder"):
        moved = delivery.motion(name)
        arrays += [moved.shift_mm, moved.weight, *([] if moved.linear is None else [moved.linear])]
    source = uncertainty.delineation
    field = SurfaceField.on(np.eye(3), source.correlation_deg)
    drawn = source.draw(draws, len(field.basis)) @ field.basis
    return [*arrays, source.mean_mm + source.sd_mm * drawn, np.array([source.farthest_mm])]


def changes(one: list, other: list) -> bool:
    return len(one) != len(other) or any(a.shape != b.shape or np.any(a != b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("key", "other"), turned(EVERYTHING), ids=lambda v: v if isinstance(v, str) else "")
def test_sources_of_error(key, other):
    gentle = motions.NoMotionManagement() if "respiration.period" not in key else motions.Tracking()
    guidance = guidances.NoGuidance()
    assert changes(signature(motion=gentle, guidance=guidance), signature(other, motion=gentle, guidance=guidance))


@pytest.mark.parametrize("key", ["image_to_beam_s", "dose_rate_gy_per_min", "reimaging_s"])
def test_session(key):
    other = SESSION.model_copy(update={key: 0.8 * getattr(SESSION, key)})
    assert changes(signature(), signature(session=other))


def kinds(specs):
    return [pytest.param(s, o, id=f"{type(s).__name__}-{k}") for s in specs for k, o in turned(s)]


@pytest.mark.parametrize(("one", "other"), kinds(MOTIONS))
def test_motion_management(one, other):
    assert changes(signature(motion=one), signature(motion=other))


@pytest.mark.parametrize(("one", "other"), kinds(GUIDANCES))
def test_guidance(one, other):
    assert changes(signature(guidance=one), signature(guidance=other))


@pytest.mark.parametrize(("one", "other"), kinds(MARGINS))
def test_margins(one, other):
    assert changes(signature(margin=one), signature(margin=other))


def test_every_kind_is_turned():
    for union, members in ((motions.Motion, MOTIONS), (guidances.Guidance, GUIDANCES), (margins.Margin, MARGINS)):
        known = typing.get_args(typing.get_args(union)[0])
        without_numbers = {k for k in known if not any(f.annotation not in (str, str | None) and n != "kind" and n != "recipe"
                                                       for n, f in k.model_fields.items())}  # fmt: skip
        assert set(known) - without_numbers <= {type(m) for m in members}


PHANTOMS = [
    phantoms.SpherePhantom(),
    phantoms.MediastinalPhantom(),
    phantoms.AbdominalPhantom(),
    phantoms.PelvicPhantom(),
]


@pytest.mark.parametrize(("one", "other"), kinds(PHANTOMS))
def test_phantoms(one, other):
    cases = [p.build() for p in (one, other)]
    shapes = [[repr(s.region) for s in case.structures.values()] for case in cases]
    assert shapes[0] != shapes[1] or cases[0].density.grid != cases[1].density.grid


@pytest.fixture(scope="module")
def small_case():
    return phantoms.SpherePhantom(radius_mm=8, grid_mm=4).build()


def dose_of(model, case, prescription):
    target = planning_target(case.gtv.region, np.zeros((1, 3)))
    plan = model.plan(Order(case, target, Expansion(np.full(3, 3.0), np.full(3, 3.0)), prescription))
    rng = np.random.default_rng(0)
    return plan.dose.at(case.gtv.centroid_mm + rng.normal(0, 12, (300, 3)))


RX = Prescription(dose_gy=50, fractions=5, isodose_percent=80)


@pytest.mark.parametrize(
    ("key", "other"),
    [k for k in turned(ConformalArc(dose_grid_mm=4)) if k[0] != "scale"],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_conformal_arc(key, other, small_case):
    assert np.any(dose_of(ConformalArc(dose_grid_mm=4), small_case, RX) != dose_of(other, small_case, RX))


def test_prescription(small_case):
    nominal = dose_of(ConformalArc(dose_grid_mm=4), small_case, RX)
    for key in ("dose_gy", "isodose_percent"):
        assert np.any(
            dose_of(ConformalArc(dose_grid_mm=4), small_case, RX.model_copy(update={key: 1.1 * getattr(RX, key)}))
            != nominal
        )


BIOLOGY = Biology.model_validate(
    {
        "tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}
                | {"alpha_sd_per_gy": 0.05, "alpha_beta_sd_gy": 2}},
        "ntcp": {"GTV": {"td50_gy": 60, "m": 0.2, "n": 0.2, "alpha_beta_gy": 3}
                 | {"td50_sd_gy": 5, "m_sd": 0.03, "alpha_beta_sd_gy": 1}},
    }
)  # fmt: skip


@pytest.mark.parametrize(("key", "other"), turned(BIOLOGY), ids=lambda v: v if isinstance(v, str) else "")
def test_biology(key, other):
    gy = np.broadcast_to(np.linspace(35, 45, 20, dtype=np.float32), (6, 20))
    sums, kind = FractionSums(gy, gy**2 / 4), key.split(".")[0]
    one, changed = (
        b.responses("GTV", Draws(3, 0, 6))[kind].probability(sums, np.full(20, 0.1)) for b in (BIOLOGY, other)
    )
    assert np.all(one != changed)
