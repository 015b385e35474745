"""Breathing records: read as their files mean them, breaths found, spreads between breaths, days and patients."""

import csv

import numpy as np
import pytest
import yaml
from breathing_files import breathing, log_normal, table, vxp
from test_messages import GOOD
from typer.testing import CliRunner

from simulator.case.traces import read_trace
from simulator.commands.breathing import breathing_found
from simulator.commands.cli import app
from simulator.commands.motion import describe_motion
from simulator.ground.spec import ConfigError, SimulatorError
from simulator.plots.breathing import breathing_records
from simulator.problem.preparation import prepare
from simulator.records.breathing import breathing_record
from simulator.records.breathing_files import read_samples
from simulator.records.breaths import breaths_of, spreads_of
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.study_file.schema import StudyConfig

TIME_S, DEPTH_MM, PHASE = breathing(np.random.default_rng(19), n_breaths=40)
GATE = DEPTH_MM < 3


def record_of(tmp_path, text, name="a.csv", inhale=None, **units):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return breathing_record(str(path), read_samples(path, **units), inhale)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (vxp(TIME_S, DEPTH_MM, PHASE), {}),
        (vxp(TIME_S, DEPTH_MM, PHASE, sign=-1), {}),
        (vxp(TIME_S, DEPTH_MM, PHASE).replace("[Header]\n", "").replace("\n", "\r\n"), {}),
        (vxp(TIME_S, DEPTH_MM * 10, PHASE, scale="1"), {}),
        (vxp(TIME_S, DEPTH_MM, PHASE, scale=""), {"unit": "cm"}),
        (vxp(TIME_S, DEPTH_MM, 0 * PHASE), {"inhale": "plus"}),
        (table(TIME_S, DEPTH_MM), {"inhale": "plus"}),
        (table(TIME_S, -DEPTH_MM), {"inhale": "minus"}),
        (table(TIME_S, DEPTH_MM, ("time (s)", "depth (mm)")), {}),
        (table(TIME_S, DEPTH_MM, ("time_s", "displacement_mm")), {}),
        (table(TIME_S, DEPTH_MM, ("Timestamp [ms]", "Amplitude_cm"), factors=(1e3, 0.1)), {"inhale": "plus"}),
        (table(TIME_S, DEPTH_MM, ("t", "position"), factors=(1e3, 0.1)), {"inhale": "plus", "unit": "cm", "time_unit": "ms"}),
        (table(TIME_S, DEPTH_MM, separator=";", comma=True), {"inhale": "plus"}),
        (table(TIME_S, DEPTH_MM, separator="\t", comma=True), {"inhale": "plus"}),
        ("exported by somebody\n\n" + table(TIME_S, DEPTH_MM, separator="|"), {"inhale": "plus"}),
        (table(TIME_S, -DEPTH_MM, ("time (s)", "amplitude (mm)", "phase"), more=(np.degrees(PHASE),)), {}),
        (table(TIME_S, -DEPTH_MM, ("time (s)", "amplitude (mm)", "phase (%)"), more=(100 * PHASE / 2 / np.pi,)), {}),
    ],
)  # fmt: skip
def test_the_same_record_in_many_files(text, options, tmp_path):
    record = record_of(tmp_path, text, **options)
    np.testing.assert_allclose(np.diff(record.time_s), 0.04, atol=0.0011)
    np.testing.assert_allclose(record.depth_mm - record.depth_mm.min(), DEPTH_MM - DEPTH_MM.min(), atol=0.006)
    assert record.rate_hz == pytest.approx(25, rel=0.01)
    assert record.beam_on is None


def test_what_a_record_says_besides_is_listed(tmp_path):
    gap = np.delete(np.arange(len(TIME_S)), np.arange(500, 560))
    text = vxp(TIME_S[gap], DEPTH_MM[gap], PHASE[gap], invalid=range(10, 30), gate=GATE[gap])
    record = record_of(tmp_path, text, "a.vxp")
    kept = np.setdiff1d(np.arange(len(gap)), range(10, 30))
    assert record.notes == (
        f"20 of {len(gap)} samples are flagged as not valid, and are left out",
        "inhale is plus, by its phase, 0 at inhale",
        "gaps of more than 1 s: 1, the longest of 2.4 s after 21.0 s; breaths across them are left out",
        record.notes[-1],
    )
    on = record.depth_mm[record.beam_on]
    assert record.notes[-1] == (
        f"the beam is on in {100 * GATE[gap][kept].mean():.0f} % of the time, at depths of {np.percentile(on, 5):.1f} to "
        f"{np.percentile(on, 95):.1f} mm (5 to 95 %) about the median"
    )
    np.testing.assert_array_equal(record.beam_on, GATE[gap][kept])
    assert [piece.start for piece in record.pieces()] == [0, 480]
    always = record_of(tmp_path, vxp(TIME_S, DEPTH_MM, PHASE, gate=GATE | True), "a.vxp")
    assert "the beam flag is always on: no gating in this record" in always.notes
    slow = record_of(tmp_path, vxp(TIME_S, DEPTH_MM, PHASE, rate="12.5"), "a.vxp")
    assert "the header says 12.5 samples per second, the times 25: times are taken" in slow.notes


@pytest.mark.parametrize(
    ("head", "flags"),
    [
        ("beam on", np.where(GATE, "1", "0")),
        ("Gate", np.where(GATE, "On", "off")),
        ("beam_hold", np.where(GATE, "no", "yes")),
    ],
)
def test_beam_flags_of_tables(head, flags, tmp_path):
    record = record_of(tmp_path, table(TIME_S, DEPTH_MM, ("time (s)", "depth (mm)", head, "x"), more=(flags, flags)))
    np.testing.assert_array_equal(record.beam_on, GATE)
    assert record.notes[0] == "columns not used: 4 (counted from 1)"


def test_direction_is_asked_for_and_checked(tmp_path):
    plain = table(TIME_S, DEPTH_MM)
    with pytest.raises(ConfigError) as refused:
        record_of(tmp_path, plain)
    assert str(refused.value).endswith(
        "a.csv: which way is inhale? add --inhale plus or --inhale minus (it dwells at its low values, as breathing does at "
        "exhale: that speaks for plus)"
    )
    notes = record_of(tmp_path, plain, inhale="minus").notes
    assert notes[0] == "inhale is minus, by --inhale"
    assert notes[1].startswith("it dwells at inhale, unlike breathing")
    assert (
        "its phase says that inhale is plus"
        in record_of(tmp_path, vxp(TIME_S, DEPTH_MM, PHASE), inhale="minus").notes[1]
    )
    sine = table(TIME_S, 5 * np.cos(TIME_S))
    with pytest.raises(ConfigError, match=r"which way is inhale\? add --inhale plus or --inhale minus$"):
        record_of(tmp_path, sine)


def changed(text, line, old, new):
    lines = text.splitlines()
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return "\n".join(lines) + "\n"


RPM, PLAIN = vxp(TIME_S, DEPTH_MM, PHASE), table(TIME_S, DEPTH_MM)
ONE_MORE = "\n".join([*RPM.splitlines()[:30], RPM.splitlines()[28], *RPM.splitlines()[30:]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": no row names time and amplitude, and it is no RPM file"),
        (RPM.split("[Data]")[0], ": no [Data]; the file is cut short, copy it again"),
        (RPM.split("[Data]")[0] + "[Data]\n", ": 0 samples; an empty record, export it again"),
        (PLAIN.splitlines()[0] + "\n", ": 0 samples; an empty record, export it again"),
        (vxp(TIME_S, DEPTH_MM, PHASE, layout="phase,timestamp"), ": Data_layout names no amplitude"),
        (vxp(TIME_S, DEPTH_MM, PHASE, scale=""),
         ": Scale_factor in the header is 'missing', and says the unit of its amplitude; add --unit cm or --unit mm"),
        (vxp(TIME_S, DEPTH_MM, PHASE, scale="ten"), ": Scale_factor in the header is 'ten'"),
        (vxp(TIME_S / 1000, DEPTH_MM, PHASE), ":12: time does not increase; correct that line, or export the record again"),
        (vxp(TIME_S * 1000, DEPTH_MM, PHASE),
         ": samples are 40 s apart, and its header says 25 samples per second; correct the unit of time"),
        (ONE_MORE, ":31: time does not increase"),
        (vxp(TIME_S, DEPTH_MM, PHASE, invalid=range(len(TIME_S))), ": no sample is flagged as valid (validflag 0)"),
        (changed(RPM, 20, ",", ",,"), ":20: 8 values under 7 column names"),
        (changed(RPM, 20, "0.", "x."), "amplitude is 'x."),
        (vxp(TIME_S, 0 * DEPTH_MM, PHASE), ": it moves by 0 mm only; a record of breathing is wanted"),
        (vxp(TIME_S, 1e3 * DEPTH_MM, PHASE), " mm; correct its unit"),
        (table(TIME_S, DEPTH_MM, ("time", "amplitude (mm)")), ":1: s or ms? no column says it; add --time-unit s or"),
        (table(TIME_S, DEPTH_MM, ("time (s)", "amplitude")), ":1: mm or cm? no column says it; add --unit mm or --unit cm"),
        (table(TIME_S, DEPTH_MM, ("time (s)", "height")), ": no row names time and amplitude"),
        (table(TIME_S, DEPTH_MM, ("time (s)", "amplitude (mm)", "depth (mm)"), more=(TIME_S,)),
         ":1: two columns of amplitude (2 and 3); leave one of them"),
        (table(TIME_S, DEPTH_MM, comma=True), ":2: 4 values under 2 column names; separate columns by ; if commas"),
        (table(TIME_S, DEPTH_MM, ("time (s)", "depth (mm)", "beam"), more=(["maybe"] * len(TIME_S),)),
         ":2: beam is 'maybe'; 1 or 0, on or off are wanted"),
        (table(TIME_S[::-1], DEPTH_MM), ":3: time does not increase"),
        (table(TIME_S, DEPTH_MM, factors=(100, 1)), ": samples are 4 s apart; correct the unit of time"),
        (changed(table(TIME_S, DEPTH_MM, separator=";"), 9, ".", ","), ": decimal points and decimal commas"),
    ],
)  # fmt: skip
def test_what_is_no_breathing_record_is_refused(text, message, tmp_path):
    with pytest.raises(SimulatorError) as refused:
        record_of(tmp_path, text, "a.vxp", inhale="plus")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "inch"}, "--unit: 'inch' is none? say mm or cm"),
        ({"time_unit": "min"}, "--time-unit: 'min' is none? say s or ms"),
        ({"unit": "cm"}, ":1: the name of a column says mm; leave out --unit cm"),
        ({"time_unit": "ms"}, ":1: the name of a column says s; leave out --time-unit ms"),
        ({"inhale": "up"}, "--inhale: 'up' is none? say plus or minus"),
    ],
)
def test_settings_that_are_none(options, message, tmp_path):
    with pytest.raises(ConfigError) as refused:
        record_of(tmp_path, PLAIN, **{"inhale": "plus", **options})
    assert message in str(refused.value)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_breaths_are_those_that_were_drawn(n, rate_hz, tmp_path):
    time_s, depth_mm, _ = breathing(np.random.default_rng(3), 30, breath_cv=0, period_cv=0, rate_hz=rate_hz, n=n)
    tilted = depth_mm + time_s / 60 * 0.8
    breaths = breaths_of("x", record_of(tmp_path, table(time_s, tilted), inhale="plus"))
    assert len(breaths.start_s) == 28
    np.testing.assert_allclose(breaths.period_s, 4.0, atol=0.11)
    np.testing.assert_allclose(breaths.amplitude_mm, 10.0, rtol=0.02)
    assert breaths.drift_mm_per_min == pytest.approx(0.8, rel=0.01)
    assert breaths.exponent == n
    np.testing.assert_allclose(breaths.start_s, 6.0 + 4 * np.arange(28), atol=0.11)


def test_spread_of_breaths_is_that_which_was_drawn(tmp_path):
    """Amplitude is from the mean of the exhales around, which are all alike here; |z| < 4."""
    n = 400
    time_s, depth_mm, _ = breathing(np.random.default_rng(5), n, breath_cv=0.25, period_cv=0.1)
    breaths = breaths_of("x", record_of(tmp_path, table(time_s, depth_mm), inhale="plus"))
    spreads = spreads_of([breaths.amplitude_mm], np.array([0]))
    assert abs(spreads.breath.value - 0.25) < 4 * 0.25 / np.sqrt(2 * n)
    assert spreads.breath.low < 0.25 < spreads.breath.high
    assert abs(breaths.amplitude_mm.mean() - 10) < 4 * 2.5 / np.sqrt(n)
    halves = 0.1 / np.sqrt(2)  # from inhale to inhale: half of one breath and half of the next
    assert abs(spreads_of([breaths.period_s], np.array([0])).breath.value - halves) < 4 * halves / np.sqrt(n)


def test_pauses_and_gaps_make_no_breaths(tmp_path):
    time_s, depth_mm, _ = breathing(np.random.default_rng(3), 20, breath_cv=0, period_cv=0)
    held = np.where(time_s > 42, time_s + 15, time_s)
    still = np.arange(42.04, 57, 0.04)
    whole = np.concatenate([time_s[time_s <= 42], still, held[held > 57]])
    kept = np.concatenate([depth_mm[time_s <= 42], np.full(len(still), 10.0), depth_mm[time_s > 42]])
    found = breathing_found([write(tmp_path / "pause.csv", table(whole, kept))], inhale="plus")
    assert found.breaths[0].n_pauses == 2
    assert any("they last more than twice the usual (pauses, breath holds): 2 breaths" in n for n in found.notes)
    gap = breaths_of("x", record_of(tmp_path, table(held, depth_mm), inhale="plus"))
    assert len(gap.start_s) == 20 - 5  # the breath of the gap, and the first and the last inhale of each part
    np.testing.assert_allclose(gap.period_s, 4, atol=0.05)
    with pytest.raises(SimulatorError, match="3 whole breaths; 5 or more are wanted, give a longer record"):
        breaths_of("x", record_of(tmp_path, table(time_s[:500], depth_mm[:500]), inhale="plus"))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_variances_are_nested():
    """200 patients, 4 days, 30 breaths: each level is found as drawn, with what lies below it taken off; |z| < 4."""
    rng = np.random.default_rng(7)
    n, days, breaths, cvs = 200, 4, 30, (0.15, 0.2, 0.4)
    patient = np.repeat(np.arange(n), days)
    means = np.repeat(log_normal(rng, cvs[2], n), days) * log_normal(rng, cvs[1], n * days)
    found = spreads_of([mean * log_normal(rng, cvs[0], breaths) for mean in means], patient)
    for spread, cv, freedom in (
        (found.breath, cvs[0], n * days * (breaths - 1)),
        (found.fraction, cvs[1], n * (days - 1)),
        (found.course, cvs[2], n - 1),
    ):
        assert abs(spread.value - cv) < 4 * cv * 1.2 / np.sqrt(2 * freedom)
        assert spread.low < spread.value < spread.high
    assert found.course.made_of == "200 patients"
    of_courses = np.log1p(0.4**2)
    assert abs(found.total_log_variance - of_courses - np.log1p(0.2**2)) < 4 * of_courses * np.sqrt(2 / (n - 1))


def test_who_has_one_record_tells_no_days_from_patients():
    rng = np.random.default_rng(7)
    few_breaths = [mean * log_normal(rng, 0.3, 6) for mean in log_normal(rng, 0.0, 300)]
    each = spreads_of(few_breaths, np.arange(300))
    assert each.fraction is None
    assert each.course.value < 0.1  # a mean of six breaths varies by 0.12
    one = spreads_of(few_breaths, np.zeros(300, int))
    assert one.course is None
    assert one.fraction.value == each.course.value
    assert spreads_of(few_breaths[:1], np.zeros(1, int)).fraction is None


def clinic(tmp_path, n_patients, n_days, depth=True):
    """Records of invented patients, each in a folder of his own."""
    rng = np.random.default_rng(11)
    paths = []
    for patient in range(n_patients):
        for day in range(n_days):
            size = 8 * log_normal(rng, 0.3, 1)[0]
            text = vxp(*breathing(rng, 25, size, 0.2), patient=f"Doe-{patient}", sign=1 if depth else -1)
            paths.append(write(tmp_path / f"Doe-{patient}" / f"day{day}.vxp", text))
    return paths


def test_records_of_a_patient_make_his_block(tmp_path):
    found = breathing_found(clinic(tmp_path, 1, 3))
    block = yaml.safe_load(found.block)
    breathing_keys = block["uncertainty"]["respiration"]
    assert block["subject"] == "patient"
    assert set(breathing_keys) == {"n", "period_s", "period_cv", "breath_cv", "fraction_cv", "course_cv"}
    assert breathing_keys["course_cv"] == breathing_keys["fraction_cv"]
    assert breathing_keys["fraction_cv"] == pytest.approx(found.amplitudes.fraction.value, abs=0.005)
    assert breathing_keys["period_cv"] == pytest.approx(
        np.sqrt(np.expm1(found.periods.total_log_variance / 2)), abs=0.005
    )
    assert breathing_keys["n"] == 2
    assert "3 records in one folder: taken as one patient's" in found.notes
    simulated = study_with(block, amplitude_mm=[0, 0, 8])
    assert not any("spread between patients" in note for note in simulated.notes)
    assert np.ptp(delivered(simulated)[..., 2]) > 8


def study_with(block, **more):
    raw = yaml.safe_load(GOOD) | block | {"courses": 20}
    raw["uncertainty"]["respiration"] |= more
    return prepare(StudyConfig.model_validate(raw))


def delivered(problem):
    delivery = deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, 20))
    return delivery.motion("GTV").shift_mm


def test_records_of_several_patients_make_a_population_s(tmp_path):
    found = breathing_found(clinic(tmp_path, 3, 2))
    block = yaml.safe_load(found.block)
    assert block["subject"] == "population"
    keys = block["uncertainty"]["respiration"]
    assert keys["course_cv"] == pytest.approx(found.amplitudes.course.value, abs=0.005)
    assert found.made_of == "6 records of 3 patients"
    assert "Doe" not in found.block + str(found.notes) + str(found.tables)
    assert prepare(StudyConfig.model_validate(yaml.safe_load(GOOD) | block))
    single = breathing_found(clinic(tmp_path / "b", 2, 1))
    assert "# fraction_cv: takes records of several days of a patient" in single.block
    assert yaml.safe_load(single.block)["uncertainty"]["respiration"]["course_cv"] >= 0


def test_patients_are_told_by_folders(tmp_path):
    text = vxp(TIME_S, DEPTH_MM, PHASE, patient="Doe")
    same = [write(tmp_path / folder / "a.vxp", text) for folder in ("x", "y")]
    assert any(
        "patients 1, 2 carry one Patient_ID: if they are the same" in note for note in breathing_found(same).notes
    )
    mixed = [same[0], write(tmp_path / "x" / "b.vxp", text.replace("Doe", "Roe"))]
    with pytest.raises(
        ConfigError, match=r"records of several patients \(Patient_ID\); give each patient a folder"
    ) as refused:
        breathing_found(mixed)
    assert "Doe" not in str(refused.value)
    with pytest.raises(ConfigError, match="a record is named twice"):
        breathing_found([same[0], same[0]])


def test_a_recorded_point_in_the_patient_gives_amplitude_and_direction(tmp_path):
    """IEC 61217: x left, y superior, z anterior; inhale is inferior, anterior, left here."""
    time_s, depth_mm, _ = breathing(np.random.default_rng(2), 40, 10.0, 0.0, rate_hz=10, period_cv=0.05)
    rows = [f"{t:.3f} {0.2 * d:.4f} {-0.9 * d:.4f} {0.3 * d:.4f}" for t, d in zip(time_s, depth_mm, strict=True)]
    found = breathing_found([write(tmp_path / "a.txt", "\n".join(rows))])
    keys = yaml.safe_load(found.block)["uncertainty"]["respiration"]
    np.testing.assert_allclose(keys["amplitude_mm"], (2, 3, 9), atol=0.2)
    assert keys["inhale_direction"] == [1, -1, -1]
    assert "inhale is inferior along its main direction" in found.notes[0]
    with pytest.raises(
        ConfigError, match="a record of positions, whose format says unit and direction; leave out --inhale"
    ):
        breathing_found([tmp_path / "a.txt"], inhale="plus")
    shift = delivered(study_with(yaml.safe_load(found.block))).reshape(-1, 3)
    assert np.ptp(shift, axis=0)[2] == pytest.approx(9, abs=2)
    assert np.corrcoef(shift[:, 1], shift[:, 2])[0, 1] == pytest.approx(1)


def test_a_table_with_a_long_gap_is_read(tmp_path):
    held = np.where(TIME_S > 80, TIME_S + 30, TIME_S)
    found = breathing_found([write(tmp_path / "a.csv", table(held, DEPTH_MM, ("time_s", "displacement_mm")))])
    assert any("gaps of more than 1 s: 1, the longest of 30.0 s" in note for note in found.notes)


def test_the_command_writes_what_it_says(tmp_path):
    paths = clinic(tmp_path, 1, 2, depth=False)
    done = CliRunner().invoke(app, ["motion", *map(str, paths), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "note: record 2: inhale is minus, by its phase, 0 at inhale" in done.stdout
    assert "Breathing in 2 records of 1 patient" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"motion.yaml", "motion.csv", "motion.svg", "record-1.csv", "record-2.csv"}
    assert (tmp_path / "out" / "motion.yaml").read_text(encoding="utf-8") in done.stdout
    assert not any(b"Doe" in path.read_bytes() for path in (tmp_path / "out").iterdir())
    rows = list(csv.DictReader((tmp_path / "out" / "motion.csv").open(encoding="utf-8")))
    found = breathing_found(paths)
    assert len(rows) == sum(len(b.start_s) for b in found.breaths)
    assert float(rows[0]["amplitude_mm"]) == pytest.approx(found.breaths[0].amplitude_mm[0], abs=1e-3)
    trace = read_trace(tmp_path / "out" / "record-2.csv")
    np.testing.assert_allclose(trace.position_mm[:, 0], found.records[1].depth_mm, atol=1e-3)


def test_the_figure_shows_the_breaths(tmp_path):
    found = breathing_found([write(tmp_path / "a.vxp", vxp(TIME_S, DEPTH_MM, PHASE, gate=GATE))])
    figure = breathing_records(found.records, found.breaths)
    signal, amplitude = figure.axes[0], figure.axes[1]
    early = found.records[0].time_s - found.records[0].time_s[0] <= 60
    np.testing.assert_array_equal(signal.lines[0].get_ydata(), found.records[0].depth_mm[early])
    np.testing.assert_array_equal(amplitude.lines[0].get_ydata(), found.breaths[0].amplitude_mm)
    assert "beam on" in [text.get_text() for text in figure.legends[0].texts]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "GTV"}, "--target: is about a 4DCT, and records are given; leave it out"),
        ({"inhale_percent": 0.0}, "--inhale-percent: is about a 4DCT, and records are given; leave it out"),
        ({"organs": ["Liver"]}, "--organ: is about a 4DCT"),
    ],
)
def test_settings_of_the_other_kind(options, message, tmp_path):
    path = write(tmp_path / "a.csv", PLAIN)
    with pytest.raises(ConfigError) as refused:
        describe_motion([path], **options)
    assert message in str(refused.value)
    with pytest.raises(ConfigError, match="--unit: is about breathing records, and a folder"):
        describe_motion([tmp_path], unit="mm")
    with pytest.raises(ConfigError, match="a folder beside other paths: give one 4DCT"):
        describe_motion([tmp_path, path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory); give the path of a breathing record"),
        (b"PK\x03\x04 and more", "a workbook, and a record of text is wanted; save the sheet as CSV (UTF-8)"),
        (
            bytes(128) + b"DICM",
            "a DICOM file; name the folder that holds the structure sets of all phases, or a record",
        ),
        ("time (s),amplit\u00fcde".encode("latin-1"), "1: byte 0xfc is not UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["a.vxp", "a.csv"])
def test_files_of_other_kinds(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SimulatorError) as refused:
        breathing_found([tmp_path / name])
    assert message in str(refused.value)
