"""Several targets with a plan of each from a planning system: doses add up, each with an isocentre of its own if asked."""

import numpy as np
import pytest
from eight_plans import ptv_name, write_eight_plans
from test_imported_plans import RX, ball_dose, study
from test_plan_dose import candidate, equal, sphere_case

from simulator.case.anatomy import ImportedDose
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.case.structures import Structure
from simulator.execution.study import run
from simulator.ground.spec import CaseError, ConfigError
from simulator.plan.imported import ImportedDoses
from simulator.plan.model import Order
from simulator.plan.targets import planning_target
from simulator.problem.preparation import prepare
from simulator.problem.words import plans_in_words

MARGINS = {"GTV": equal(3.0), "Node": equal(5.0)}
EACH = [{"dose": "a", "target": "GTV", "margin_mm": 3}, {"dose": "b", "target": "Node", "margin_mm": 5}]


def model(*doses):
    return ImportedDoses.model_validate({"doses": list(doses)})


def two(doses):
    case = sphere_case(radius_mm=8, centre=(-15, 0, 0), doses=doses)
    case.structures["Node"] = Structure("Node", "oar", Ball((15, 0, 0), 6.0))
    return case.with_targets(["GTV", "Node"])


def together(case, in_turn=False):
    own = model(*EACH).of(candidate(3.0), MARGINS)
    orders = []
    for name, margin in MARGINS.items():
        part = case.for_target(name)
        orders.append(Order(part, planning_target(part.gtv.region, np.zeros((1, 3))), margin, RX))
    return own.together([own.plan(order) for order in orders], orders, in_turn=in_turn)


def test_doses_add_up_at_every_point_and_in_both_ptvs():
    plan = together(two((ball_dose("a"), ball_dose("b"))))
    points = np.random.default_rng(1).uniform(-30, 30, (50, 3))
    np.testing.assert_allclose(plan.dose.at(points), 100.0)
    assert [planned.quality.ptv_d95_gy for planned in plan.planned] == pytest.approx([100, 100])
    assert plan.grid.origin_mm == (-42, -42, -42)
    assert plan.bridge_cc == 0
    assert [len(together(two((ball_dose("a"), ball_dose("b"))), turn).dose.parts) for turn in (False, True)] == [1, 2]


def test_the_sum_is_known_where_all_grids_reach():
    far = Grid.covering((-26, -40, -40), (60, 40, 40), 2.0)
    other = ImportedDose("b", Volume(far, np.full(far.shape, 50.0, np.float32)))
    grid = together(two((ball_dose("a"), other))).grid
    assert (grid.origin_mm[0], grid.upper_mm[0]) == (-28, 42)
    near = Grid.covering((0, -40, -40), (60, 40, 40), 2.0)
    with pytest.raises(CaseError, match="a PTV lies beyond the dose grid of another target's plan"):
        together(two((ball_dose("a"), ImportedDose("b", Volume(near, np.full(near.shape, 50.0, np.float32))))))


@pytest.mark.parametrize(
    ("doses", "message"),
    [
        ([EACH[0]], "no dose for strategy .* target Node"),
        ([EACH[0], EACH[1] | {"target": "Nod"}], "'Nod' is no target of this study"),
        ([EACH[0], EACH[1] | {"margin_mm": 4}], "target Node"),
        ([*EACH, EACH[0] | {"dose": "c"}], "fits 2 doses equally"),
    ],
)
def test_each_target_has_one_dose(doses, message):
    with pytest.raises(ConfigError, match=message):
        model(*doses).of(candidate(3.0), MARGINS)


def test_doses_of_all_and_of_one_do_not_mix():
    with pytest.raises(ValueError, match="doses: c name no target, others do"):
        model(*EACH, {"dose": "c"})


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_eight_plans(tmp_path_factory.mktemp("eight") / "plans")


def of_the_patient(patient, **changes):
    doses = [
        {"dose": "rd_1.dcm", "target": "GTV", "ptv": ptv_name("none", 2)},
        {"dose": "rd_6.dcm", "target": "ITV", "ptv": ptv_name("itv", 4)},
    ]
    changes = {
        "targets": {"GTV": {}, "ITV": {"margin_mm": 4}},
        "strategies": {"margins_mm": [2], "motion": "none", "guidance": "none"},
        "goals": ["GTV D98% >= 95%", "ITV D98% >= 95%"],
        "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}},
    } | changes
    return study(patient, doses, **changes)


@pytest.mark.nightly
def test_where_nothing_changes_in_a_session_isocentres_of_each_change_nothing(patient):
    """Setup alone and no images: both plans meet the patient where he lies, together or one after the other."""
    one = run(of_the_patient(patient), workers=1)
    each = run(of_the_patient(patient, session={"isocentres": "each"}), workers=1)
    np.testing.assert_allclose(each["metrics/value"].values, one["metrics/value"].values, rtol=1e-5, atol=1e-3)
    assert one["metrics/nominal"].sel(metric="GTV D95%").item() > 100


def test_the_isocentre_of_each_is_that_of_its_rtplan(patient):
    problem = prepare(of_the_patient(patient, session={"isocentres": "each"}))
    plans = [dose.plan for dose in problem.case.doses if dose.source.endswith(("rd_1.dcm", "rd_6.dcm"))]
    for target, plan in zip(problem.targets, plans, strict=True):
        np.testing.assert_allclose(problem.setting.about(target.name).isocentre_mm, plan.isocentres_mm[0])
    said = " ".join(plans_in_words(problem))
    assert "its PTV is PTV_2mm as drawn" in said
    assert "its PTV is PTV_ITV4mm as drawn" in said


def test_a_target_whose_dose_is_of_another_order_is_refused_by_its_own_key(patient):
    wrong = of_the_patient(patient, targets={"GTV": {}, "ITV": {"dose_gy": 55}})
    with pytest.raises(ConfigError, match=r"targets\.ITV\.dose_gy is 55 Gy, RTPLAN .* prescribes 50 Gy"):
        prepare(wrong)
