"""What `run` refuses, `check` refuses too, with the same words and before anything is simulated or written."""

import sys

import pytest
from dicom_factory import write_phantom_dicom

from simulator.commands import cli
from simulator.execution import study
from simulator.study_file.checked_yaml import to_yaml

PHANTOM = {
    "name": "checked",
    "case": {"phantom": "sphere", "radius_mm": 10},
    "prescription": {"dose_gy": 50, "fractions": 3, "isodose_percent": 80},
    "plan": {"model": "penumbra"},
    "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%"],
    "courses": 20,
    "numerics": {"max_points": 1000},
}
BREATHING = {"respiration": {"amplitude_mm": [0, 0, 8]}}
ARCS = {"model": "conformal-arc", "dose_grid_mm": 4}


def rtdose(*entries):
    """A study of the DICOM phantom with a dose for each margin."""
    doses = [{"margin_mm": margin, "dose": name} for margin, name in entries]
    plan = {"model": "rtdose", "doses": doses}
    prescription = PHANTOM["prescription"] | {"fractions": 5}
    return {"case": {"dicom": "DICOM", "target": "GTV"}, "plan": plan, "prescription": prescription}


def strategies(**changes):
    return {"strategies": PHANTOM["strategies"] | changes}


REFUSED = {
    "a planning system's plan of a phantom": (
        {"plan": {"model": "rtplan", "engine": "pydosert", "machine": "elekta_10MV"}},
        "plan: case 'sphere' has no planned dose; give a folder with its RTDOSE as case.dicom",
    ),
    "a dose that is not there": (rtdose((3, "nowhere")), "plan.doses: 'nowhere' is not a dose of case"),
    "a margin without a dose": (
        rtdose((3, "UID")) | strategies(margins_mm=[3, 5]),
        "plan.doses: no dose for strategy 'none, 5 mm, none' (margin 5 mm); there are doses for margin 3 mm. Add",
    ),
    "a recipe without a dose": (
        rtdose((3, "UID")) | strategies(margins_mm=["stroom"]) | {"uncertainty": {"setup": {"systematic_mm": 1}}},
        "plan.doses: no dose for strategy 'none, Stroom, none' (margin 2 mm)",
    ),
    "a dose that is too small": (rtdose((20, "UID")) | strategies(margins_mm=[20]), "does not cover the PTV of margin 20 mm"),
    "a closed form of an ITV": (
        {"uncertainty": BREATHING} | strategies(motion=["none", "itv"]),
        "the planning target is a union of several positions (an ITV); use model: conformal-arc",
    ),
    "a closed form of a node": ({"case": {"dicom": "DICOM", "target": "GTV"}}, "is not a sphere; use model: conformal-arc"),
    "a closed form of the maximum": (
        {"prescription": PHANTOM["prescription"] | {"isodose_percent": 100}},
        "prescription.isodose_percent is 100",
    ),
    "an isodose out of reach": (
        {"plan": ARCS, "prescription": PHANTOM["prescription"] | {"isodose_percent": 100}},
        "prescription.isodose_percent: 100 % cannot be had for a PTV of",
    ),
    "a PTV beyond the image": (
        rtdose() | {"plan": ARCS} | strategies(margins_mm=[20]), "the PTV reaches beyond the density grid"
    ),
    "an offline protocol of three fractions": (strategies(guidance=["nal"]), "would correct from fraction 4 on"),
    "gating of nothing": (strategies(motion=["gating"]), "there is no breathing to gate"),
    "more volume than there is": ({"goals": ["GTV D50cc >= 40 Gy"]}, "GTV has only"),
    "one point of a sweep": (
        {"plan": ARCS, "sweep": {"prescription.isodose_percent": [80, 100]}},
        "sweep point prescription.isodose_percent = 100: prescription.isodose_percent: 100 % cannot be had",
    ),
}  # fmt: skip


def exit_code(command, *arguments):
    """Exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["simulator", command, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return end.value.code


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    return write_phantom_dicom(tmp_path_factory.mktemp("dicom"))


@pytest.mark.parametrize("what", REFUSED)
def test_check_and_run_refuse_the_same_at_once(what, request, tmp_path, monkeypatch, capsys):
    changes, message = REFUSED[what]
    text = to_yaml(PHANTOM | changes)
    if "DICOM" in text:
        folder = request.getfixturevalue("dicom")
        text = text.replace("DICOM", str(folder)).replace("UID", "99.5.1")
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(study, "_simulate", lambda *_: pytest.fail("simulated"))
    texts = []
    for command, *options in (("check",), ("run", "--out", out, "--quiet")):
        assert exit_code(command, file, *options) == 2
        texts.append(capsys.readouterr().err.splitlines()[-1])
    assert texts[0] == texts[1]
    assert message in texts[0]
    assert not list(out.glob("*"))


@pytest.mark.parametrize("changes", [rtdose((3, "UID")), {"plan": ARCS}, {}], ids=["rtdose", "arcs", "closed form"])
def test_what_check_calls_valid_runs(changes, request, tmp_path, capsys):
    text = to_yaml(PHANTOM | changes)
    if "DICOM" in text:
        text = text.replace("DICOM", str(request.getfixturevalue("dicom"))).replace("UID", "99.5.1")
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    assert exit_code("check", file) == 0
    assert "The study is valid." in capsys.readouterr().out
    assert exit_code("run", file, "--out", tmp_path / "out", "--quiet", "--no-report") == 0
