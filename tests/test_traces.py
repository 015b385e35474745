"""Breathing records as instruments and spreadsheets write them: read right, or refused with file and line."""

import numpy as np
import pytest
import yaml
from test_archive import label_arrays
from test_messages import GOOD

from simulator.case.inventory import inventory
from simulator.case.traces import read_trace
from simulator.ground.spec import CaseError, ConfigError
from simulator.problem.preparation import prepare
from simulator.study_file.schema import StudyConfig

TIME_S = np.arange(0, 60, 0.1)
DEPTH_MM = 5 * np.cos(np.pi * TIME_S / 4) ** 4
ROWS = [(f"{t:.2f}", f"{d:.3f}") for t, d in zip(TIME_S, DEPTH_MM, strict=True)]
COMMA = [(t.replace(".", ","), d.replace(".", ",")) for t, d in ROWS]
HEAD = ("time_s", "displacement_mm")


def table(rows, separator=",", head=HEAD, quote=""):
    return "\n".join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in (head, *rows)) + "\n"


def with_row(at, row):
    return [*ROWS[:at], row, *ROWS[at + 1 :]]


@pytest.mark.parametrize(
    "text",
    [
        table(ROWS),
        table(ROWS, quote='"'),
        table(ROWS).replace("\n", "\r\n"),
        table(ROWS, head=("Time_s", " displacement_mm")),
        table(ROWS, ";"),
        table(ROWS, "\t"),
        table(COMMA, ";"),
        table(COMMA, "\t"),
        table(COMMA, quote='"'),
        table(COMMA, ";", quote='"'),
        table(ROWS) + "\n,\n , \n",
        table([(d, t) for t, d in ROWS], head=HEAD[::-1]),
        table([(t, "in", d) for t, d in ROWS], head=("time_s", "phase", "displacement_mm")),
        table([(f"{float(t):.6e}", d) for t, d in ROWS]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_same_record_in_many_spellings(text, encoding, tmp_path):
    (tmp_path / "a.csv").write_text(text, encoding=encoding, newline="")
    trace = read_trace(tmp_path / "a.csv")
    np.testing.assert_allclose(trace.time_s, TIME_S, atol=1e-9)
    np.testing.assert_allclose(trace.position_mm[:, 0], DEPTH_MM, atol=6e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(COMMA), ":2: 4 values under 2 column names; separate columns by ; if commas are decimal marks"),
        (table([(t, d, d) for t, d in ROWS], head=(*HEAD, "Displacement_mm")),
         ":1: 2 columns are called displacement_mm; leave one of them"),
        (table(with_row(5, ("0.50", ""))), ":7: displacement_mm is '', no number"),
        (table(with_row(5, ("0.50",))), ":7: 1 values under 2 column names"),
        (table(with_row(5, ("0.50", "nan"))), ":7: displacement_mm is 'nan', no number"),
        (table(with_row(5, ("0.50", "inf"))), ":7: displacement_mm is 'inf', no number"),
        (table(with_row(5, ("0.50", "1e999"))), ":7: a value is not finite"),
        (table(with_row(5, ("0.50", "1_0"))), ":7: displacement_mm is '1_0', no number"),
        (table(with_row(5, ("0.50", "0x1"))), ":7: displacement_mm is '0x1', no number"),
        (table(with_row(5, ("00:00:05", "1"))), ":7: time_s is '00:00:05', no number"),
        (table(with_row(5, ("0.50", '"1,5"'))), ":7: decimal points and decimal commas in one file"),
        (table(with_row(5, ("0.40", "1"))), ":7: time does not increase"),
        (table(with_row(5, ("0.30", "1"))), ":7: time does not increase"),
        (table(with_row(5, ("0.50", "5000"))), ":7: 5e+03 mm from the middle; positions are wanted in mm"),
        (table([*ROWS[:300], *ROWS[400:]]), ":302: 10.1 s without a sample"),
        (table((f"{1000 * t:.0f}", f"{d:.3f}") for t, d in zip(TIME_S, DEPTH_MM, strict=True)),
         ": samples 100 s apart cannot show breathing; times are wanted in seconds"),
        (table([]), ": 0 samples"),
        (table(ROWS[:1]), ": 1 samples"),
        (table((f"{k}", "1") for k in range(100_001)), ": 100001 samples"),
        (table([*ROWS[:5], ('"0.5', "1"), *ROWS[6:]]), ":601: 1 values under 2 column names"),
        ("time_s,displacement_mm,\u00e4\n", None),
    ],
)  # fmt: skip
def test_flaws_are_told_with_their_line(text, message, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(text, encoding="utf-8" if message else "latin-1")
    with pytest.raises(CaseError) as told:
        read_trace(file)
    assert str(told.value).startswith(f"{file}{message or ':1: byte 0xe4 is not UTF-8'}")


@pytest.mark.parametrize("bad", ["nan", "inf", "1e300"])
def test_flaws_of_text_and_marker_traces(bad, tmp_path):
    lines = [f"{t} 0 {d} 0 1 0 0" for t, d in ROWS]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    assert read_trace(tmp_path / "a.txt").note == "rotations are not used"
    (tmp_path / "a.txt").write_text("\n".join([*lines[:4], f"0.40 0 {bad} 0 0 0 0", *lines[5:]]))
    with pytest.raises(CaseError, match=r"a\.txt:5: "):
        read_trace(tmp_path / "a.txt")
    marker = ['"Frame";"Timestamp";"x";"y";"z"', *(f"{k};{100 * k};1,5;{d};2" for k, (_, d) in enumerate(COMMA))]
    (tmp_path / "a.csv").write_text("\n".join(marker))
    np.testing.assert_allclose(read_trace(tmp_path / "a.csv").position_mm[:, 1], DEPTH_MM, atol=6e-4)
    glitch = [*marker[:4], "3;12;1;1;1", *marker[5:]]
    (tmp_path / "a.csv").write_text("\n".join(glitch))
    assert read_trace(tmp_path / "a.csv").note == "1 time stamps out of order replaced"
    np.testing.assert_allclose(read_trace(tmp_path / "a.csv").time_s, TIME_S, atol=1e-9)
    (tmp_path / "a.csv").write_text("\n".join([*marker[:4], f"3;300;{bad};1;1", *marker[5:]]))
    with pytest.raises(CaseError, match=r"a\.csv:5: "):
        read_trace(tmp_path / "a.csv")


def test_one_bad_record_does_not_hide_the_others_from_an_inventory(tmp_path):
    (tmp_path / "good.csv").write_text(table(ROWS))
    (tmp_path / "bad.csv").write_text(table(COMMA))
    found = inventory(tmp_path)
    assert [t.source for t in found.traces] == ["good.csv"]
    assert any("bad.csv:2: 4 values" in note for note in found.notes)


def study(respiration):
    return StudyConfig.model_validate(yaml.safe_load(GOOD) | {"uncertainty": {"respiration": respiration}})


@pytest.mark.parametrize(
    ("depth_mm", "respiration", "message"),
    [
        (np.ones(600), {}, "moves by 0 mm only; give a record of breathing"),
        (np.where(np.arange(600) == 7, 5.0, 0), {}, "moves by 0 mm only"),
        (DEPTH_MM + 200 * (np.arange(600) == 7), {}, "has spikes far beyond its usual range"),
        (DEPTH_MM + 3 * TIME_S, {}, "moves by 170 mm, as no breathing does; correct its unit, or take its drift off"),
        (DEPTH_MM[:25], {"period_s": 4}, "lasts 2.5 s, less than one breath"),
    ],
)
def test_records_that_show_no_breathing_are_refused(depth_mm, respiration, message, tmp_path):
    (tmp_path / "a.csv").write_text(table((f"{t:g}", f"{d:g}") for t, d in zip(TIME_S, depth_mm, strict=False)))
    with pytest.raises(ConfigError, match=message) as told:
        prepare(study({"trace": str(tmp_path / "a.csv"), "amplitude_mm": 5, **respiration}))
    assert str(told.value).startswith("uncertainty.respiration.trace: ")


def test_a_record_without_an_amplitude_moves_nothing_and_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing moves without amplitude_mm; give it"):
        study({"trace": "a.csv"})
    (tmp_path / "a.csv").write_text(table(ROWS))
    notes = prepare(study({"trace": str(tmp_path / "a.csv"), "amplitude_mm": [0, 0, 8]})).notes
    assert any(
        "gives the shape alone: its 4.9 mm (2.5-97.5 %) become amplitude_mm along inhale_direction" in n for n in notes
    )


def test_what_is_dropped_of_a_record_in_space_is_said(tmp_path):
    for turn, unused in ((0, "its direction is not used"), (1, "its direction and rotations are not used")):
        (tmp_path / "a.txt").write_text("\n".join(f"{t} 0 {d} {d} {turn} 0 0" for t, d in ROWS))
        notes = prepare(study({"trace": str(tmp_path / "a.txt"), "amplitude_mm": [0, 0, 8]})).notes
        assert any(unused in note for note in notes)


def test_a_spread_between_patients_is_noted_for_one_patient(tmp_path):
    arrays = label_arrays()
    np.savez(tmp_path / "a.npz", **arrays)
    one = {"case": {"file": str(tmp_path / "a.npz")}, "plan": {"model": "conformal-arc"}}
    for case, is_noted in (({}, False), (one, True)):
        raw = yaml.safe_load(GOOD) | {"uncertainty": {"respiration": {"amplitude_mm": 5, "course_cv": 0.4}}} | case
        notes = prepare(StudyConfig.model_validate(raw)).notes
        assert any("course_cv is the spread between patients" in note for note in notes) is is_noted
    still = study({"period_s": 4})
    assert any("respiration moves nothing: amplitude_mm is 0" in note for note in prepare(still).notes)
