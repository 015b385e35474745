"""One RTDOSE for each beam of a plan: their sum is the plan, and where the beams stand still they are its parts."""

import numpy as np
import pytest
from delivered_plans import beam_of
from dicom_changes import change, item
from dicom_factory import GTV_CENTRE, planned_dose, write_phantom_dicom
from pydicom.sequence import Sequence as DicomSequence

import simulator
from simulator.case.dicom import load_dicom
from simulator.case.sources import DicomCase
from simulator.ground.spec import ConfigError
from simulator.plan.imported import ImportedDoses
from simulator.plan.in_parts import PlanBeamByBeam
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.targets import Expansion, planning_target
from simulator.problem.preparation import prepare
from simulator.study_file.loading import load_study

STUDY = """
name: beam-by-beam
case: {{dicom: {folder}, target: GTV}}
prescription: {{dose_gy: 50, fractions: 5, isodose_percent: 77}}
plan: {{model: rtdose, doses: [{{dose: ""}}]}}
uncertainty: {{respiration: {{amplitude_mm: 8, n: 1, period_s: 4}}}}
strategies: {{margins_mm: [3], motion: none, guidance: none}}
goals: ["GTV D98% >= 90%"]
simulate: {{interplay: {interplay}, organs: 0}}
courses: 20
"""
STANDS = [(200.0, "NONE", 0.0)] * 2
TURNS = [(310.0, "CW", 0.0), (330.0, "NONE", 0.0)]


def left(x, y, z):
    """What the first beam gives: the half of the patient on one side, and a little of the other."""
    return planned_dose(x, y, z) * np.where(x < GTV_CENTRE[0], 0.9, 0.1)


def write(folder, first=STANDS, doses=(left, lambda *at: planned_dose(*at) - left(*at)), metersets=("900", "300")):
    """The small patient with two beams, each with its dose; of one dose, that of the plan."""
    options = [{"values": planned_dose}] if len(doses) == 1 else []
    options = options or [{"summation": "BEAM", "beam": i + 1, "values": gy} for i, gy in enumerate(doses)]
    write_phantom_dicom(folder, ct_z=np.arange(-33.0, 34.0, 3.0), doses=options)

    def with_beams(data):
        data.BeamSequence = DicomSequence([beam_of(1, first), beam_of(2, STANDS)])
        data.FractionGroupSequence[0].ReferencedBeamSequence = DicomSequence(
            [item(ReferencedBeamNumber=i + 1, BeamMeterset=units) for i, units in enumerate(metersets)]
        )

    change(folder / "rp_1.dcm", with_beams)
    return folder


def order(folder):
    case = load_dicom(DicomCase(dicom=str(folder), target="GTV"))
    target = planning_target(case.gtv.region, np.zeros((1, 3)))
    return Order(case, target, Expansion(np.full(3, 3.0), np.full(3, 3.0)), Prescription(dose_gy=50, fractions=5))


MODEL = ImportedDoses.model_validate({"model": "rtdose", "doses": [{"dose": ""}]})
BOX = (np.array(GTV_CENTRE) - 15, np.array(GTV_CENTRE) + 15)


def study(folder, tmp_path, interplay):
    path = tmp_path / f"{interplay}.yaml"
    path.write_text(STUDY.format(folder=folder, interplay=interplay), encoding="utf-8")
    return load_study(path)


def test_beams_are_parts_in_the_plans_order_and_times(tmp_path):
    wanted = order(write(tmp_path))
    assert wanted.case.doses[0].why_no_parts == ""
    plan = MODEL.plan(wanted)
    assert isinstance(plan, PlanBeamByBeam)
    first, second = plan.parts_in(wanted.case.density, 60.0, BOX)
    assert (first.begin, first.end, second.begin, second.end) == (0.0, 0.75, 0.75, 1.0)
    points_mm = np.array(GTV_CENTRE) + np.random.default_rng(0).uniform(-12, 12, (50, 3))
    np.testing.assert_allclose(first.dose.at(points_mm) + second.dose.at(points_mm), plan.dose.at(points_mm), rtol=1e-5)
    away = np.abs(points_mm[:, 0] - GTV_CENTRE[0]) > 6
    share = np.where(points_mm[away, 0] < GTV_CENTRE[0], 0.9, 0.1)
    np.testing.assert_allclose(first.dose.at(points_mm[away]) / plan.dose.at(points_mm[away]), share, atol=0.06)
    half = plan.scaled(0.5).parts_in(wanted.case.density, 60.0, BOX)[1]
    np.testing.assert_allclose(half.dose.at(points_mm), 0.5 * second.dose.at(points_mm), rtol=1e-5)
    assert plan.dose_on(wanted.case.density).at(points_mm) == pytest.approx(plan.dose.at(points_mm), rel=1e-5)
    assert "; its parts are its 2 beams, each the same while it is on" in MODEL.describe(wanted.case, [])[0]


def test_a_slower_dose_rate_takes_longer(tmp_path):
    write(tmp_path)

    def slower(data):
        data.BeamSequence[1].ControlPointSequence[0].DoseRateSet = 200

    change(tmp_path / "rp_1.dcm", slower)
    plan = MODEL.plan(order(tmp_path))
    np.testing.assert_allclose(plan.windows, [[0, 0.5], [0.5, 1]])


def test_doses_may_come_in_any_order(tmp_path):
    plain, turned = tmp_path / "plain", tmp_path / "turned"
    write(plain), write(turned)
    for number, name in ((2, "a.dcm"), (1, "b.dcm")):
        (turned / f"rd_{number}.dcm").rename(turned / name)
    one, two = (MODEL.plan(order(folder)) for folder in (plain, turned))
    np.testing.assert_array_equal(one.parts_gy, two.parts_gy)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"doses": (planned_dose,)}, "it is one dose of all beams; export one RTDOSE for each beam that stands still"),
        ({"first": TURNS}, "the gantry turns during beam beam 1; export one RTDOSE"),
        ({"metersets": ("900", "")}, "its RTPLAN does not say the monitor units of beam 2"),
        ({"metersets": ("", "")}, "no photon beam with monitor units"),
    ],
)
def test_interplay_is_refused_where_parts_are_not_known(changes, reason, tmp_path):
    asked = study(write(tmp_path / "case", **changes), tmp_path, "screen")
    with pytest.raises(ConfigError, match="which part is delivered.*" + reason):
        simulator.run(asked)


def test_one_dose_of_all_beams_is_not_screened_by_itself(tmp_path):
    plain, whole = write(tmp_path / "beams"), write(tmp_path / "plan", doses=(planned_dose,))
    found = [prepare(study(folder, tmp_path, "auto").model_copy(update={"courses": 1000})) for folder in (plain, whole)]
    assert [problem.interplay for problem in found] == ["screen", False]


@pytest.mark.nightly
def test_a_study_meets_the_beam_that_is_on(tmp_path):
    folder = write(tmp_path / "case")
    met, blurred = (simulator.run(study(folder, tmp_path, interplay)) for interplay in ("true", "false"))
    one, two = (found["metrics/value"].sel(metric="GTV D98%").values.ravel() for found in (met, blurred))
    assert np.abs(one - two).max() > 0.01
    assert np.abs(one - two).max() < 2.5
    screened = simulator.run(study(folder, tmp_path, "screen"))
    np.testing.assert_array_equal(screened["metrics/value"], blurred["metrics/value"])
    assert np.isfinite(screened["interplay/change"]).all()
