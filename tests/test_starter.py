"""Starter studies: which structure is the target, and that `check` accepts whatever names and folders there are."""

import tempfile
from pathlib import Path

import pydicom
import pytest
from dicom_factory import Z_MM, circle, phantom_structures, write_phantom_dicom
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from simulator.case.entries import StructureEntry
from simulator.case.naming import StructureNames
from simulator.case.tg263 import is_organ, standard_name, standard_names
from simulator.ground.spec import ConfigError
from simulator.metrics.goals import parse_goal
from simulator.problem.preparation import prepare
from simulator.problem.subject import notes_on_subject
from simulator.study_file.checked_yaml import parse_yaml, to_scalar
from simulator.study_file.loading import load_study
from simulator.study_file.starter import starter_study, target_of

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=24)
ODD = (
    'GTV "old"',
    "*GTV",
    "&GTV",
    "!GTV",
    "@GTV",
    "%GTV",
    "[GTV]",
    "{GTV}",
    "5",
    "NO",
    "null",
    "~",
    "- GTV",
    "GTV: 1",
    "1:59",
)
ODD = (
    *ODD,
    "GTV #2",
    "'GTV",
    'GTV"',
    "肿瘤",
    "GTV\t1",
    "GTV\u3000x",
    "0x1F",
    "1e3",
    "?GTV",
    "|",
    ">",
    "`",
    "a, b",
    "=",
    "<<",
    "{x}",
)
RADIUS = 7.0


def cylinder(radius, x=0.0):
    return [circle(x, 0, z, radius) for z in Z_MM[7:14]]


def entry(name, kind="", volume_cc=1.0, source="rs.dcm"):
    return StructureEntry(source, name, kind, volume_cc)


def write_patient(folder, names):
    """A patient whose structures are called so: body, a target of 7 mm radius typed GTV, a cord."""
    drawn = {"0": phantom_structures()["BODY"], "1": ("GTV", cylinder(RADIUS)), "2": ("ORGAN", cylinder(3, 25))}
    write_phantom_dicom(folder, ct_z=(), doses=(), structures=drawn)
    data = pydicom.dcmread(folder / "rs_1.dcm")
    data.SpecificCharacterSet = "ISO_IR 192"
    for roi, name in zip(data.StructureSetROISequence, names, strict=True):
        roi.ROIName = name
    data.save_as(folder / "rs_1.dcm")


def prepared(folder, study):
    """What `check` makes of the starter study of a folder."""
    study.write_text(starter_study("pelvic", folder), encoding="utf-8")
    return prepare(load_study(study, {"numerics.max_points": 1000}))


@given(TEXT)
@example("a\nb")
@example(" leading and trailing ")
@example("\x7f\x85\u2028\ufeff")
def test_any_text_is_one_line_of_yaml_that_reads_back(text):
    for line in (to_scalar(text), to_scalar(text, quoted=True)):
        assert len(line.splitlines()) == 1
        assert parse_yaml(f"case: {{a: [{to_scalar(text, quoted=True)}]}}", "x")[0] == {"case": {"a": [text]}}
        assert parse_yaml(f"case: {line}   # remark", "x")[0] == {"case": text}


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT.filter(lambda name: not is_organ(name)))
@pytest.mark.filterwarnings("ignore")
def test_check_accepts_the_starter_of_any_target_name(name):
    with tempfile.TemporaryDirectory() as folder:
        write_patient(Path(folder), ["BODY", name, "Cord"])
        case = prepared(Path(folder), Path(folder) / "study.yaml").case
        assert case.gtv.volume_cc == pytest.approx(3.1416 * RADIUS**2 * 21 / 1000, rel=0.01)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("ignore")
def test_check_accepts_the_starter_of_odd_names(name, tmp_path):
    write_patient(tmp_path / "dicom", ["BODY", name, "Cord"])
    case = prepared(tmp_path / "dicom", tmp_path / "study.yaml").case
    assert case.gtv.volume_cc == pytest.approx(3.1416 * RADIUS**2 * 21 / 1000, rel=0.01)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20))
@example("a #1")
@example("a: b")
@example(" trailing ")
@example('"')
@example("-")
@example("%TEMP%")
@example("~")
@example("'")
@example("null")
@example("{x}")
@example("line\nbreak")
@example("ä\u2028é")
def test_check_accepts_the_starter_of_any_folder(name):
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "dicom" / ("x" if name in (".", "..") else name)
        write_patient(folder, ["BODY", "GTV", "Cord"])
        study = Path(parent) / "study.yaml"
        study.write_text(starter_study("pelvic", folder), encoding="utf-8")
        assert load_study(study).case.build().target == "GTV"


@given(st.lists(TEXT, min_size=1, max_size=8, unique=True), st.randoms())
def test_every_structure_can_be_named_in_a_goal(names, random):
    from simulator.study_file.starter import aliases_of

    aliases = aliases_of(names)
    found = StructureNames(names, {short: [name] for short, name in aliases.items()}, "x")
    standard = list(found.standard.values())
    assert len(set(standard)) == len(names)
    for name in standard:
        assert parse_goal(f"{name} D98% >= 95%").metric.structure == name


def test_names_that_differ_only_in_blanks_and_signs_stay_apart(tmp_path):
    drawn = phantom_structures() | {
        n: ("PTV", cylinder(9, x)) for n, x in (("PTV 50", 9), ("PTV (50", -9), ("PTV+ 50", 0))
    }
    write_phantom_dicom(tmp_path / "dicom", ct_z=(), doses=(), structures=drawn)
    case = prepared(tmp_path / "dicom", tmp_path / "study.yaml").case
    assert [n for n in case.structures if n.startswith("PTV")] == ["PTV_50", "PTV_50_2", "PTV_50_3"]


@pytest.mark.parametrize(
    ("structures", "target"),
    [
        ([entry("BODY", "EXTERNAL"), entry("x", "GTV"), entry("Cord", "ORGAN")], "x"),
        ([entry("GTV_old", "GTV", None), entry("GTV_n", "GTV"), entry("Cord", "ORGAN")], "GTV_n"),
        ([entry("PTV", "PTV"), entry("CTV", "CTV"), entry("x", "GTV")], "x"),
        ([entry("node", "GTV"), entry("GTV", "GTV")], "GTV"),
        ([entry("PTV", "PTV"), entry("gtv 1"), entry("CTV", "CTV")], "gtv 1"),
        ([entry("PTV", "PTV"), entry("Tumour"), entry("Heart")], "Tumour"),
        ([entry("Heart", "ORGAN"), entry("PTV 50"), entry("BODY")], "PTV 50"),
        ([entry("GTV ring", "GTV"), entry("x", "CTV")], "x"),
        ([entry("GTV ring", "GTV"), entry("Heart", "ORGAN")], "GTV ring"),
        ([entry("SpinalCord", "GTV"), entry("L4 met")], "L4 met"),
        ([entry("GTV", "ORGAN"), entry("Cord", "ORGAN"), entry("BODY", "EXTERNAL")], None),
        ([entry("GTV", "AVOIDANCE"), entry("CTV", "SUPPORT"), entry("PTV", "EXTERNAL")], None),
        ([entry("BODY"), entry("Cord"), entry("Lt Lung"), entry("*Skull")], None),
        ([entry("GTV", "GTV", None), entry("BODY", "EXTERNAL")], None),
        ([entry("Breast", "GTV"), entry("Tumor Bed", "CTV"), entry("Tumor Bed Block", "GTV")], "Tumor Bed"),
    ],
)
def test_the_target_is_told_by_type_then_by_name(structures, target):
    chosen, why = target_of(structures)
    assert chosen == target
    assert why.startswith(("typed", "taken for") if target else "CHOOSE")


def test_without_a_target_the_user_has_to_choose_one(tmp_path):
    drawn = {"BODY": phantom_structures()["BODY"], "Cord": ("ORGAN", cylinder(4))}
    write_phantom_dicom(tmp_path / "dicom", ct_z=(), doses=(), structures=drawn)
    study = tmp_path / "study.yaml"
    study.write_text(starter_study("pelvic", tmp_path / "dicom"), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_study(study)
    assert str(raised.value).endswith(": no target is chosen; write the name of the structure that has to be covered")
    study.write_text(
        study.read_text().replace("target: ", "target: SpinalCord ").replace("TARGET", "SpinalCord"), encoding="utf-8"
    )
    assert prepare(load_study(study)).case.target == "SpinalCord"


def test_one_of_several_structure_sets_is_named(tmp_path):
    write_phantom_dicom(tmp_path / "dicom", ct_z=(), doses=(), n_structure_sets=2, n_plans=0)
    problem = prepared(tmp_path / "dicom", tmp_path / "study.yaml")
    assert problem.config.case.structure_set == "rs_1.dcm"
    assert "CHOOSE one of rs_1.dcm, rs_2.dcm" in (tmp_path / "study.yaml").read_text()


@pytest.mark.parametrize("site", ["mediastinal", "abdominal", "pelvic"])
def test_the_example_of_an_organ_goal_is_of_the_site(site):
    organ = {"mediastinal": "Esophagus", "abdominal": "Duodenum", "pelvic": "Rectum"}
    text = starter_study(site)
    assert [o for o in organ.values() if f'"{o} D1cc' in text] == [organ[site]]


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("Lt Lung", "Lung_L"), ("LUNG_RT", "Lung_R"), ("Lung, left", "Lung_L"), ("lungL", "Lung_L"), ("Lungs", "Lungs"),
        ("Total Lung", "Lungs"), ("Lung", None), ("R Kidney", "Kidney_R"), ("kidneys", "Kidneys"),
        ("spinal cord", "SpinalCord"), ("CORD", "SpinalCord"),
        ("Oesophagus", "Esophagus"), ("Small Bowel", "Bowel_Small"), ("Bowel_small", "Bowel_Small"),
        ("FemoralHead_L", "Femur_Head_L"), ("Femoral Head Rt", "Femur_Head_R"), ("Chest wall", "ChestWall"), ("HEART", "Heart"),
        ("Great vessels", "GreatVes"), ("urinary bladder", "Bladder"), ("Liver", "Liver"), ("Brain Stem", "Brainstem"),
        ("Lung_L-GTV", None), ("Lungs minus GTV", None), ("PRV cord", None), ("Cord + 3 mm", None), ("Cord2", None),
        ("SpinalCanal", None), ("Heart L", None), ("Lung L R", None), ("GTV", None), ("Lymph node L", None), ("", None),
    ],
)  # fmt: skip
def test_near_names_of_organs_map_to_tg263(name, standard):
    assert standard_name(name) == standard


def test_a_standard_name_is_given_once_and_only_where_it_is_clear():
    assert standard_names(["Lt Lung", "Heart", "cord", "Myelon"]) == {"Lung_L": "Lt Lung"}
    assert standard_names(["SpinalCord", "cord"]) == {}


def test_published_goals_find_the_clinics_organs(tmp_path):
    drawn = {
        "BODY": phantom_structures()["BODY"],
        "GTV": ("GTV", cylinder(7)),
        "spinal cord": ("ORGAN", cylinder(3, 25)),
    }
    write_phantom_dicom(tmp_path / "dicom", ct_z=(), doses=(), structures=drawn)
    (tmp_path / "study.yaml").write_text(starter_study("mediastinal", tmp_path / "dicom"), encoding="utf-8")
    problem = prepare(load_study(tmp_path / "study.yaml"))
    assert "SpinalCord" in {goal.metric.structure for goal in problem.goals}


def test_a_patient_s_study_is_about_him(tmp_path):
    """His spreads are explained, and `check` reminds of what is still a population's."""
    write_phantom_dicom(tmp_path / "dicom")
    (tmp_path / "own.yaml").write_text(starter_study("mediastinal", tmp_path / "dicom"), encoding="utf-8")
    study = load_study(tmp_path / "own.yaml")
    text = (tmp_path / "own.yaml").read_text(encoding="utf-8")
    assert study.subject == "patient"
    assert "how well his own amplitude is known" in text
    assert "of whom he is one" in text
    assert any("course_cv 0.4 looks like the spread between patients" in note for note in notes_on_subject(study))
    (tmp_path / "phantom.yaml").write_text(starter_study("mediastinal"), encoding="utf-8")
    assert load_study(tmp_path / "phantom.yaml").subject == "population"
    assert "his own" not in (tmp_path / "phantom.yaml").read_text(encoding="utf-8")
