"""Wrong inputs: exit code 2 and one message that names file, key or object and the remedy."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_folders import simulator as command

import simulator
from simulator.execution.points import notes_on_twins
from simulator.ground.spec import SimulatorError
from simulator.problem.preparation import prepare
from simulator.simulation.courses import twins
from simulator.study_file.loading import load_study
from simulator.study_file.schema import StudyConfig

GOOD = """\
name: study
case: {phantom: sphere, radius_mm: 10}
prescription: {dose_gy: 50, fractions: 5, isodose_percent: 80}
plan: {model: penumbra}
uncertainty:
  setup:
    systematic_mm: [1, 1, 1]
    random_mm: [1, 1, 1]
strategies:
  margins_mm: [3]
  motion: [none]
  guidance: [none]
goals: ["GTV D98% >= 95%"]
"""


def message_of(text, tmp_path, **overrides):
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SimulatorError) as error:
        prepare(load_study(file, overrides))
    return str(error.value).replace(str(tmp_path), "DIR").replace("\\", "/")


def test_the_good_study_is_good(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert prepare(load_study(file)).case.gtv.volume_cc == pytest.approx(4.18879, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("random_mm", "randm_mm"), "DIR/study.yaml:8: uncertainty.setup.randm_mm: unknown key; did you mean 'random_mm'?"),
        (
            ("random_mm: [1, 1, 1]", "random_mm: [1.5, 1.5]"),
            "DIR/study.yaml:8: uncertainty.setup.random_mm: 3 values wanted (LR, AP, SI), got 2: [1.5, 1.5]",
        ),
        (
            ("systematic_mm: [1, 1, 1]", "systematic_mm: [1, -1, 1]"),
            "DIR/study.yaml:7: uncertainty.setup.systematic_mm.1 (AP): has to be greater than or equal to 0, got -1",
        ),
        (
            ("GTV D98%", "Spinal D98%"),
            "goal 'Spinal D98% >= 95%': structure 'Spinal' is not in case 'sphere'; it has: GTV, External (names are "
            "case-sensitive; case.aliases maps a clinic's own names)",
        ),
        (
            ("[none]\n  guidance", "[itvv]\n  guidance"),
            "DIR/study.yaml:11: strategies.motion.0: 'itvv' is not known here; known are 'none', 'itv'",
        ),
        (
            ("margins_mm: [3]", "margins_mm: [3]\n  margin_mm: 3"),
            "DIR/study.yaml:11: strategies.margin_mm: unknown key; did you mean 'margins_mm'?",
        ),
        (("dose_gy: 50, ", ""), "DIR/study.yaml:3: prescription.dose_gy: this key is missing"),
        (
            ("dose_gy: 50", "dose_gy: fifty"),
            "DIR/study.yaml:3: prescription.dose_gy: has to be a valid number, unable to parse string as a number, "
            "got 'fifty'",
        ),
        (
            ("plan: {", "plan: ["),
            "DIR/study.yaml:4: YAML syntax: did not find expected ',' or ']'; check indentation, colons and brackets",
        ),
        (("name: study", "name: study\nname: other"), "DIR/study.yaml:2: name is given twice"),
        (
            ("case: {phantom: sphere, radius_mm: 10}", "case: {dicom: nowhere}"),
            "DICOM folder DIR/nowhere does not exist; case.dicom names a folder, relative to the study file",
        ),
        (
            ('["GTV D98% >= 95%"]', "[mediastinal-7fx]"),
            "goals: 'mediastinal-7fx' is neither a goal nor a library; libraries are ",
        ),
        (
            ('["GTV D98% >= 95%"]', "[mediastinal-3fx]"),
            "goals: library 'mediastinal-3fx' is for 3 fractions, the study has 5; limits are never converted between "
            "fractionations: choose another library or write the goals out",
        ),
        (
            ('"GTV D98% >= 95%"', '"GTV D50cc >= 95%"'),
            "goal on 'GTV D50cc': GTV has only 4.19 cc; ask for a smaller volume or for a percentage",
        ),
        (
            ("random_mm: [1, 1, 1]", "random_mm: 1,1,1"),
            "DIR/study.yaml:8: uncertainty.setup.random_mm: a list is wanted, got '1,1,1'; write it in brackets, [1,1,1]",
        ),
        (("[3]", "[]"), "DIR/study.yaml:10: strategies.margins_mm: at least 1 wanted, got 0"),
        (("[3]", "[3, 3]"), "DIR/study.yaml:1: strategies: none, 3 mm, none is listed twice; remove one"),
    ],
)  # fmt: skip
def test_messages(change, message, tmp_path):
    assert change[0] in GOOD
    assert message_of(GOOD.replace(*change), tmp_path).startswith(message)


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ("{margins_mm: [3], motion: [foo], guidance: [none]}", "strategies.motion.0: 'foo' is not known here"),
        ("{margins_mm: [3], motion: foo, guidance: [none]}", "strategies.motion: 'foo' is not known here"),
        ("[{margin_mm: 3, motion: foo, guidance: none}]", "strategies.0.motion: 'foo' is not known here"),
        ("{margins_mm: [3], motion: [none], guidance: [foo]}", "strategies.guidance.0: 'foo' is not known here"),
        (
            "{margins_mm: [{recipe: foo}], motion: [none], guidance: [none]}",
            "strategies.margins_mm.0: 'foo' is not known here",
        ),
        (
            "[{margin_mm: 3, motion: none, guidance: {kind: foo, match_mm: 1}}]",
            "strategies.0.guidance: 'foo' is not known here",
        ),
        ("[3]", "strategies.0: a mapping of keys (margin_mm, motion, guidance ...) is wanted, got 3"),
        ("[]", "strategies: at least 1 wanted, got 0"),
        ("itv", "strategies: a mapping of keys (margins_mm, motion, guidance ...) is wanted, got 'itv'"),
    ],
)
def test_one_problem_is_told_once(strategies, message, tmp_path):
    grid = GOOD[GOOD.index("strategies:") : GOOD.index("goals:")]
    told = message_of(GOOD.replace(grid, f"strategies: {strategies}\n"), tmp_path).splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"DIR/study.yaml:9: {message}")


def test_several_problems_are_told_at_once(tmp_path):
    text = GOOD.replace("random_mm: [1, 1, 1]", "random_mm: [1, 1]").replace("fractions: 5", "fractions: 0")
    message = message_of(text, tmp_path)
    assert "study.yaml:3: prescription.fractions" in message
    assert "study.yaml:8: uncertainty.setup.random_mm" in message


def test_an_override_is_checked_like_the_file(tmp_path):
    assert "uncertainty.setup.random_mm" in message_of(GOOD, tmp_path, **{"uncertainty.setup.random_mm": [1, 2]})


def run(*arguments, cwd):
    """What a command prints and ends with, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "simulator", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_command_alone_shows_its_help_and_no_error(tmp_path):
    alone = run(cwd=tmp_path)
    assert (alone.returncode, "Usage:" in alone.stdout + alone.stderr, "error" in alone.stderr) == (2, True, False)


def test_the_version_and_completion(tmp_path):
    shown = run("--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"simulator {simulator.__version__}\n")
    assert "--install-completion" in run("--help", cwd=tmp_path).stdout


def test_exit_codes(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(GOOD.replace("random_mm", "randm_mm"), encoding="utf-8")
    good = command("check", "good.yaml", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert "GTV D98% >= 95%" in good.stdout
    bad = run("check", "bad.yaml", cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: bad.yaml:8: uncertainty.setup.randm_mm: unknown key")
    assert "Traceback" not in bad.stderr
    assert command("check", "missing.yaml", cwd=tmp_path).returncode == 2
    assert command("fly", cwd=tmp_path).returncode == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.yaml", "good.yaml"]


def test_run_init_and_report_from_the_command_line(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    done = command("run", "good.yaml", "--courses", "20", "--set", "numerics.max_points=2000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "study"
    assert {p.name for p in folder.iterdir()} == {
        ".simulator",
        "config.yaml",
        "results.nc",
        "summary.csv",
        "report.html",
        "summary.pdf",
        "tasks.csv",
    }
    assert "20/20 courses" in done.stderr
    assert "note: 20 courses cannot show a coverage of 90 %" in done.stderr
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["courses"] == 20
    (folder / "report.html").unlink()
    assert command("report", str(folder / "results.nc"), cwd=tmp_path).returncode == 0
    assert (folder / "report.html").is_file()
    assert (folder / "summary.pdf").stat().st_mtime >= (folder / "report.html").stat().st_mtime
    assert command("run", "good.yaml", "--courses", "30", "--no-report", cwd=tmp_path).returncode == 2
    again = command("run", "good.yaml", "--courses", "30", "--no-report", "--fresh", "--quiet", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert command("init", "--site", "abdominal", cwd=tmp_path).returncode == 0
    assert command("check", "study.yaml", cwd=tmp_path).returncode == 0
    assert command("init", "--site", "neck", "--out", "other.yaml", cwd=tmp_path).returncode == 2
    empty = command("init", "--dicom", "results", "--out", "other.yaml", cwd=tmp_path)
    assert empty.returncode == 2
    assert "no RTSTRUCT" in empty.stderr or "DICOM" in empty.stderr
    assert not (tmp_path / "other.yaml").exists()


def test_strategies_that_nothing_tells_apart_are_noted():
    study = yaml.safe_load(GOOD)
    study["strategies"]["guidance"] = ["none", "online-bone", "online-target"]
    problem = prepare(StudyConfig.model_validate(study))
    assert [[problem.strategies[i].label() for i in pair] for pair in twins(problem)] == [
        ["none, 3 mm, online-bone", "none, 3 mm, online-target"]
    ]
    assert any(
        "nothing that the study simulates tells them apart (1 such pairs)" in note for note in notes_on_twins(problem)
    )
    study["uncertainty"]["baseline"] = {"random_mm": [1, 1, 1]}
    assert not twins(prepare(StudyConfig.model_validate(study)))


def test_what_is_probably_a_slip_is_noted():
    study = yaml.safe_load(GOOD)
    study["case"] = {"phantom": "pelvic"}
    study["goals"] = ["Rectum D1cc >= 20 Gy", "Bladder Dmean <= 10 Gy"]
    notes = prepare(StudyConfig.model_validate(study | {"plan": {"model": "conformal-arc"}})).notes
    assert any(
        "'Rectum D1cc >= 20 Gy' asks for more dose to an organ; 'Rectum D1cc <= 20 Gy' limits it" in n for n in notes
    )
    assert not any("Bladder" in n for n in notes)
    assert any("judged by 'GTV D98% >= 95%', which is not among the goals" in n for n in notes)


def test_a_wrong_setting_of_the_command_line_is_not_blamed_on_a_line_of_the_file(tmp_path):
    (tmp_path / "study.yaml").write_text(GOOD, encoding="utf-8")
    file = tmp_path / "study.yaml"
    for key, value in (("prescription.dose_gy", "fifty"), ("prescription.dose", 50)):
        with pytest.raises(SimulatorError) as error:
            load_study(file, {key: value})
        assert str(error.value).startswith(f"{file}: {key}: ")


def test_published_goals_without_their_structure_are_noted():
    study = {**yaml.safe_load(GOOD), "goals": ["mediastinal-5fx", "GTV D98% >= 95%"]}
    notes = prepare(StudyConfig.model_validate(study)).notes
    assert any("published goals are left out, the case has no BronchialTree_Prox" in note for note in notes)


@pytest.mark.parametrize("name", [p.name for p in sorted((Path(__file__).parents[1] / "configs").glob("*_node.yaml"))])
def test_shipped_studies_are_valid(name):
    problem = prepare(load_study(Path(__file__).parents[1] / "configs" / name))
    assert problem.config.courses >= 2000
    assert len(problem.goals) >= 8


def test_goals_of_ones_own_file(tmp_path):
    library = "name: clinic\nfractions: 5\ngoals:\n  - {goal: 'GTV D50% >= 50 Gy', source: our own, level: optimal}\n"
    (tmp_path / "clinic.yaml").write_text(library, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(GOOD.replace('["GTV', '[clinic.yaml, "GTV'), encoding="utf-8")
    goals = prepare(load_study(tmp_path / "study.yaml")).goals
    assert [(g.text, g.source, g.checked) for g in goals] == [
        ("GTV D98% >= 95%", "", True),
        ("GTV D50% >= 50 Gy", "our own", False),
    ]
