"""Which RTPLAN is meant, whether it belongs to the structures, what it prescribes, and a study that says otherwise."""

import numpy as np
import pytest
from dicom_changes import change, groups, item, references
from dicom_factory import ISOCENTRE, ROOT, write_phantom_dicom
from pydicom.sequence import Sequence

from simulator.case.inventory import inventory
from simulator.case.loading import load_case
from simulator.ground.spec import CaseError, ConfigError
from simulator.problem.preparation import prepare
from simulator.study_file.loading import load_study
from simulator.study_file.schema import StudyConfig
from simulator.study_file.starter import starter_study


@pytest.fixture
def folder(tmp_path):
    return write_phantom_dicom(tmp_path / "patient", ct_z=())


def another_patient(plan):
    plan.PatientID = "other"


def another_frame(plan):
    plan.FrameOfReferenceUID = "1.2.3.4"


def another_structure_set(plan):
    plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = "1.2.3.5"


def nameless(plan):
    del plan.PatientID, plan.FrameOfReferenceUID, plan.ReferencedStructureSetSequence


def prescription_line(folder):
    return next(line for line in starter_study("pelvic", folder).splitlines() if line.startswith("prescription"))


STRANGERS = [
    (another_patient, "is of another patient (PatientID)"),
    (another_frame, "is in another frame of reference"),
    (another_structure_set, "refers to another structure set"),
]


@pytest.mark.parametrize(("edit", "reason"), STRANGERS)
def test_a_plan_that_does_not_belong_is_refused_by_name(folder, edit, reason):
    change(folder / "rp_1.dcm", edit)
    with pytest.raises(CaseError) as raised:
        load_case(folder, target="GTV")
    assert str(raised.value).startswith(f"RTPLAN rp_1.dcm does not belong to RTSTRUCT rs_1.dcm: it {reason}; ")
    assert "other" not in str(raised.value).replace("another", "")
    assert f"RTPLAN rp_1.dcm does not belong to RTSTRUCT rs_1.dcm: it {reason}" in inventory(folder).notes
    assert "dose_gy: 30, fractions: 3" in prescription_line(folder)
    assert "rp_1.dcm" in prescription_line(folder)


def test_a_plan_of_an_earlier_export_of_the_structures_can_be_named(folder):
    change(folder / "rp_1.dcm", another_structure_set)
    assert load_case(folder, target="GTV", rtplan="rp_1.dcm").fractions == 5
    change(folder / "rp_1.dcm", another_frame)
    with pytest.raises(CaseError, match="another frame of reference"):
        load_case(folder, target="GTV", rtplan="rp_1.dcm")


def test_a_plan_that_says_nothing_of_where_it_belongs_is_taken(folder):
    change(folder / "rp_1.dcm", nameless)
    assert load_case(folder, target="GTV").fractions == 5


def test_of_two_plans_the_one_of_another_patient_is_not_asked_for(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), n_plans=2)
    change(tmp_path / "rp_1.dcm", another_frame)
    change(
        tmp_path / "rp_2.dcm",
        lambda p: setattr(p.ReferencedStructureSetSequence[0], "ReferencedSOPInstanceUID", f"{ROOT}.3.1"),
    )
    change(
        tmp_path / "rd_1.dcm",
        lambda d: setattr(d.ReferencedRTPlanSequence[0], "ReferencedSOPInstanceUID", f"{ROOT}.4.2"),
    )
    assert load_case(tmp_path, target="GTV").plan.source == "rp_2.dcm"


def test_a_dose_of_another_patient_is_refused(folder):
    change(folder / "rd_1.dcm", another_patient)
    with pytest.raises(CaseError, match=r"RTDOSE rd_1.dcm is of another patient \(PatientID\) than RTSTRUCT rs_1.dcm"):
        load_case(folder, target="GTV")


@pytest.mark.parametrize(
    ("fractions", "total", "remark"),
    [
        ((5,), 5, None),
        ((2, 3), 5, "2 fraction groups (2 + 3 fractions)"),
        ((5, None), None, "(5 + ? fractions)"),
        ((), None, None),
        ((0,), None, None),
    ],
)
def test_fractions_are_those_of_all_groups(folder, fractions, total, remark):
    change(folder / "rp_1.dcm", groups(*fractions))
    assert load_case(folder, target="GTV").fractions == total
    found = inventory(folder)
    assert found.plans[0].fractions == total
    assert any(remark in note for note in found.notes) if remark else not found.plans[0].remarks


def test_a_dose_per_fraction_of_one_of_several_groups_is_refused(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{"summation": "FRACTION"}])
    change(tmp_path / "rp_1.dcm", groups(2, 3))
    with pytest.raises(CaseError, match="has 2 fraction groups, and the dose may belong to one of them"):
        load_case(tmp_path, target="GTV", dose_is="per-fraction")


@pytest.mark.parametrize("value", [b"5.5 ", b"4.99", b"5,5 ", b"five"])
def test_half_a_fraction_is_refused(folder, value):
    change(folder / "rp_1.dcm", groups(1000))
    path = folder / "rp_1.dcm"
    path.write_bytes(path.read_bytes().replace(b"IS\x04\x001000", b"IS\x04\x00" + value))
    with pytest.raises(CaseError, match=r"^RTPLAN rp_1.dcm: NumberOfFractionsPlanned.*; export it again"):
        load_case(folder, target="GTV")
    assert any("rp_1.dcm" in note for note in inventory(folder).notes)


@pytest.mark.parametrize(
    ("targets", "prescription"),
    [
        ([("TARGET", 50), ("ORGAN_AT_RISK", 70)], 50),
        ([("ORGAN_AT_RISK", 70)], None),
        ([("TARGET", 40), ("TARGET", 50)], 50),
        ([("TARGET", 0)], None),
        ([("TARGET", -3)], None),
        ([], None),
    ],
)
def test_only_targets_have_prescriptions(folder, targets, prescription):
    change(folder / "rp_1.dcm", references(*targets))
    assert load_case(folder, target="GTV").prescription_gy == prescription
    assert inventory(folder).plans[0].prescription_gy == prescription
    several = sum(kind == "TARGET" for kind, _ in targets) > 1
    assert any("several target doses: 50, 40 Gy" in note for note in inventory(folder).notes) == several


def test_init_keeps_fractions_without_a_prescription_and_says_so(folder):
    change(folder / "rp_1.dcm", references())
    change(folder / "rp_1.dcm", groups(4))
    line = prescription_line(folder)
    assert "dose_gy: 30, fractions: 4" in line
    assert "fractions of rp_1.dcm; rp_1.dcm does not give the dose, usual ones of the site are" in line


def test_init_takes_the_isodose_from_plan_and_dose(folder):
    highest = 20 + 3 + 7 + 0.3 * 24
    change(folder / "rp_1.dcm", references(("TARGET", 30)))
    assert f"isodose_percent: {100 * 30 / highest:.0f}}}" in prescription_line(folder)
    assert "isodose from the highest dose of rd_1.dcm" in prescription_line(folder)
    change(folder / "rp_1.dcm", references(("TARGET", 300)))
    assert "isodose_percent: 80}" in prescription_line(folder)
    assert "the isodose is a guess" in prescription_line(folder)


def test_init_asks_which_of_several_plans_and_writes_a_valid_study(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), n_plans=2, doses=[{"plan": 1}, {"plan": 2}])
    change(
        tmp_path / "rp_2.dcm",
        lambda p: setattr(p.ReferencedStructureSetSequence[0], "ReferencedSOPInstanceUID", f"{ROOT}.3.1"),
    )
    text = starter_study("pelvic", tmp_path)
    assert "  rtplan: rp_1.dcm   # CHOOSE one of 2 plans: rp_1.dcm (50 Gy in 5), rp_2.dcm (50 Gy in 5)" in text
    assert '# rtdoses: ["rd_1.dcm", "rd_2.dcm"]' in text
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    assert prepare(load_study(tmp_path / "study.yaml")).case.plan.source == "rp_1.dcm"


@pytest.mark.parametrize(("kind", "name"), [("RTPLAN", "rp_1.dcm"), ("RTDOSE", "rd_1.dcm"), ("RTSTRUCT", "rs_1.dcm")])
def test_a_private_class_is_read_by_its_modality_and_named(folder, kind, name):
    def edit(data):
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.246.352.70.1.70"

    change(folder / name, edit)
    assert load_case(folder, target="GTV").fractions == 5
    assert (
        f"{name}: {kind} in the private SOP class 1.2.246.352.70.1.70, read by its Modality" in inventory(folder).notes
    )


def study(folder, **changes):
    return StudyConfig.model_validate(
        {
            "name": "own-plan",
            "case": {"dicom": str(folder), "target": "GTV"},
            "prescription": {"dose_gy": 50, "fractions": 5},
            "plan": {"model": "rtdose", "doses": [{"margin_mm": 0, "dose": "PLAN"}]},
            "uncertainty": {"setup": {"systematic_mm": 1, "systematic_deg": 1}},
            "strategies": {"margins_mm": [0], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 10%"],
            "numerics": {"max_points": 1000},
        }
        | changes
    )


@pytest.mark.parametrize(
    ("prescription", "words"),
    [
        ({"dose_gy": 40, "fractions": 5}, r"prescription.dose_gy is 40 Gy, RTPLAN rp_1.dcm prescribes 50 Gy"),
        ({"dose_gy": 50, "fractions": 3}, r"prescription.fractions is 3, RTPLAN rp_1.dcm has 5 fractions"),
        ({"dose_gy": 40, "fractions": 3}, r"dose_gy is 40 Gy.*fractions is 3"),
    ],
)
def test_a_study_that_contradicts_the_plan_of_its_dose(folder, prescription, words):
    with pytest.raises(
        ConfigError, match=words + r".*'PLAN' is used; change the study, or write prescription.overrides_plan"
    ):
        prepare(study(folder, prescription=prescription))
    meant = prepare(study(folder, prescription=prescription | {"overrides_plan": True}))
    assert any("the study's own holds (prescription.overrides_plan)" in note for note in meant.notes)
    own_plans = prepare(study(folder, prescription=prescription, plan={"model": "conformal-arc"}))
    assert any("RTPLAN rp_1.dcm" in note and "plans of this study are its own" in note for note in own_plans.notes)


def test_any_target_dose_of_the_plan_may_be_the_studys(folder):
    change(folder / "rp_1.dcm", references(("TARGET", 50), ("TARGET", 40)))
    for dose_gy in (40, 50):
        prepare(study(folder, prescription={"dose_gy": dose_gy, "fractions": 5}))


def test_a_target_dose_or_isodose_far_from_the_prescription_is_noted(folder):
    notes = prepare(study(folder)).notes
    assert any("the mean in GTV is 21.7" in n and "% of its prescription of 50 Gy" in n for n in notes)
    change(folder / "rp_1.dcm", references(("TARGET", 24)))
    notes = prepare(study(folder, prescription={"dose_gy": 24, "fractions": 5, "isodose_percent": 80})).notes
    assert any(
        n.startswith("prescription.isodose_percent is 80, but 24 Gy are 65 % of the highest dose") for n in notes
    )
    with pytest.raises(ConfigError, match="export the dose of the whole course in Gy"):
        prepare(study(folder, prescription={"dose_gy": 2, "fractions": 5, "overrides_plan": True}))


def test_rotations_turn_about_the_plans_isocentre(folder):
    away = [40.0, -10.0, 20.0]

    def move(plan):
        for beam in plan.BeamSequence:
            beam.ControlPointSequence[0].IsocenterPosition = away

    np.testing.assert_allclose(prepare(study(folder)).setting.isocentre_mm, ISOCENTRE)
    change(folder / "rp_1.dcm", move)
    problem = prepare(study(folder))
    np.testing.assert_allclose(problem.setting.isocentre_mm, away)
    assert "rotations turn about the plan's isocentre (40.0, -10.0, 20.0) mm" in problem.notes
    own = study(folder, uncertainty={"setup": {"systematic_deg": 1, "isocentre_mm": [1, 2, 3]}})
    np.testing.assert_allclose(prepare(own).setting.isocentre_mm, [1, 2, 3])
    np.testing.assert_allclose(
        prepare(study(folder, plan={"model": "conformal-arc"})).setting.isocentre_mm, ISOCENTRE, atol=0.05
    )


def test_a_plan_whose_isocentre_lies_outside_of_the_body_is_noted(folder):
    def move(plan):
        for beam in plan.BeamSequence:
            beam.ControlPointSequence[0].IsocenterPosition = [400, 0, 0]

    change(folder / "rp_1.dcm", move)
    assert any(
        note.startswith("rotations turn about the plan's isocentre (400.0, 0.0, 0.0) mm, ")
        and note.endswith("mm from the centre of GTV, which lies outside of the body")
        for note in prepare(study(folder)).notes
    )


def test_a_target_outside_of_the_body_is_noted(folder):
    notes = [n for n in prepare(study(folder)).notes if "outside of the body" in n]
    assert notes == []

    def away(data):
        for contour in data.ROIContourSequence[0].ContourSequence:
            contour.ContourData = [float(v) + 60 * (i % 3 == 1) for i, v in enumerate(contour.ContourData)]

    change(folder / "rs_1.dcm", away)
    assert "the centre of GTV lies outside of the body: is one of them drawn elsewhere?" in prepare(study(folder)).notes


def test_beams_with_several_isocentres_are_named_and_do_not_choose(folder):
    def spread(plan):
        plan.BeamSequence[1].ControlPointSequence[0].IsocenterPosition = [50, 0, 0]

    change(folder / "rp_1.dcm", spread)
    problem = prepare(study(folder))
    np.testing.assert_allclose(problem.setting.isocentre_mm, problem.case.gtv.centroid_mm)
    assert any("several isocentres: rotations turn about the centre of GTV" in note for note in problem.notes)
    assert "RTPLAN rp_1.dcm: 2 isocentres" in inventory(folder).notes


def test_structures_of_another_frame_are_left_out_or_refused(folder):
    def another(number):
        return lambda s: setattr(s.StructureSetROISequence[number], "ReferencedFrameOfReferenceUID", "1.2.3.4")

    change(folder / "rs_1.dcm", another(2))
    case = load_case(folder, target="GTV")
    assert "SpinalCord" not in case.structures
    assert "'SpinalCord' is drawn in another frame of reference than the dose or the CT" in case.left_out["SpinalCord"]
    assert any(
        n.endswith("drawn in another frame of reference than the RTDOSE: SpinalCord") for n in inventory(folder).notes
    )
    with pytest.raises(CaseError, match="'SpinalCord' is drawn in another frame of reference"):
        load_case(folder, target="GTV", structures=["SpinalCord"])
    change(folder / "rs_1.dcm", another(1))
    with pytest.raises(CaseError, match="'GTV' is drawn in another frame of reference"):
        load_case(folder, target="GTV")


def test_the_report_names_no_uid_unless_asked_for(folder):
    assert ROOT not in load_case(folder, target="GTV").description
    assert ROOT in load_case(folder, target="GTV", keep_identity=True).description


def test_a_bolus_beam_without_isocentre_does_not_hide_the_others(folder):
    def edit(plan):
        plan.BeamSequence = Sequence([item(BeamNumber=7, TreatmentDeliveryType="TREATMENT"), *plan.BeamSequence])

    change(folder / "rp_1.dcm", edit)
    np.testing.assert_allclose(load_case(folder, target="GTV").isocentre_mm, ISOCENTRE)


def test_files_that_were_turned_down_are_noted(folder):
    assert not any("approval" in key for key in prepare(study(folder)).case.provenance)
    for name, kind in (("rp_1.dcm", "RTPLAN"), ("rs_1.dcm", "RTSTRUCT")):
        change(folder / name, lambda data: setattr(data, "ApprovalStatus", "REJECTED"))
        assert prepare(study(folder)).case.provenance[f"approval of {kind}"] == "REJECTED in the planning system"
