"""Plans whose parts an engine computes from an RTPLAN, on a recorded result of the engine."""

from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
from delivered_plans import FACTOR, FRACTIONS, SHAPE, Recorded, recorded_gy, write_delivered_plan
from dicom_changes import change, item
from dicom_factory import GTV_CENTRE
from pydicom.sequence import Sequence as DicomSequence

import simulator
from simulator.case.dicom import load_dicom
from simulator.case.geometry import Grid, Volume
from simulator.case.sources import DicomCase
from simulator.commands.cli import main
from simulator.ground.spec import ConfigError
from simulator.plan import delivered
from simulator.plan.delivered import DeliveredDoses
from simulator.plan.dose import SplineDose
from simulator.plan.engine.comparison import compare
from simulator.plan.engine.engines import engine_of
from simulator.plan.engine.grid import density_on, engine_grid
from simulator.plan.engine.segments import MachineSpeeds, groups_of, segments_of, windows
from simulator.plan.imported import ImportedDoses
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.targets import Expansion, planning_target
from simulator.report import render_report
from simulator.study_file.loading import load_study

RX = Prescription(dose_gy=50, fractions=FRACTIONS, isodose_percent=80)
BOX = (np.array(GTV_CENTRE) - 15, np.array(GTV_CENTRE) + 15)
STUDY = """
name: delivered
case: {{dicom: {folder}, target: GTV}}
prescription: {{dose_gy: 50, fractions: 5, isodose_percent: 77}}
plan: {{model: rtplan, machine: elekta_10MV}}
uncertainty: {{setup: {{random_mm: 2}}}}
strategies: {{margins_mm: [3], motion: none, guidance: none}}
goals: ["GTV D98% >= 90%"]
courses: 20
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_delivered_plan(tmp_path_factory.mktemp("delivered"))


@pytest.fixture(scope="module")
def case(patient):
    return load_dicom(DicomCase(dicom=str(patient), target="GTV"))


@pytest.fixture
def recorded(monkeypatch):
    """The recorded result in place of the engine."""
    engine = Recorded()
    monkeypatch.setattr(delivered, "engine_of", lambda name, machine: engine)
    return engine


def order(case):
    target = planning_target(case.gtv.region, np.zeros((1, 3)))
    return Order(case, target, Expansion(np.full(3, 3.0), np.full(3, 3.0)), RX)


def model(**keys):
    return DeliveredDoses.model_validate({"machine": "elekta_10MV", **keys})


def study(folder, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(folder=folder), encoding="utf-8")
    return path


@pytest.fixture
def typed(monkeypatch, capsys):
    """A command: its exit code, and what it says on standard error."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["simulator", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, " ".join(capsys.readouterr().err.split())

    return run


def test_beams_are_those_of_the_rtplan(case):
    arc, static = case.plan.beams
    assert case.plan.beams_unread == ""
    np.testing.assert_allclose(arc.gantry_deg, [310, 330, 350, 370, 390, 410, 430])
    np.testing.assert_allclose(arc.delivered, np.arange(7) / 6, atol=1e-6)
    assert (arc.monitor_units, arc.monitor_units_per_s, arc.energy_mv, arc.source_mm) == (900, 10, 10, 1000)
    np.testing.assert_array_equal(arc.jaws_y_mm, [[-20, 20]] * 7)
    np.testing.assert_array_equal(arc.jaws_x_mm, [[-200, 200]] * 7)
    np.testing.assert_allclose(static.collimator_deg, 30)
    assert static.leaves_mm.shape == (2, 80, 2)
    open_pairs = np.ptp(static.leaves_mm[0], axis=1) > 0
    middle = (static.leaf_edges_mm[1:] + static.leaf_edges_mm[:-1]) / 2
    assert np.abs(middle[open_pairs]).max() < 17 < np.abs(middle[~open_pairs]).min() + 1


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda d: setattr(d.BeamSequence[0], "NumberOfWedges", 1), "beam 1 has wedges"),
        (lambda d: setattr(d.BeamSequence[1], "RadiationType", "ELECTRON"), "beam 2 is of electrons"),
        (
            lambda d: setattr(d.BeamSequence[0].BeamLimitingDeviceSequence[1], "RTBeamLimitingDeviceType", "MLCY"),
            "one MLCX, with jaws or without, is known",
        ),
        (
            lambda d: setattr(d, "PatientSetupSequence", DicomSequence([item(PatientPosition="HFP")])),
            "lies HFP, only HFS is known",
        ),
        (
            lambda d: delattr(d.BeamSequence[0].ControlPointSequence[0], "NominalBeamEnergy"),
            "NominalBeamEnergy is missing",
        ),
        (
            lambda d: setattr(d.BeamSequence[0].ControlPointSequence[3], "CumulativeMetersetWeight", 0),
            "beam 1: CumulativeMetersetWeight does not rise",
        ),
        (lambda d: delattr(d.FractionGroupSequence[0], "ReferencedBeamSequence"), "no photon beam with monitor units"),
    ],
)
def test_beams_that_are_not_known_are_refused_where_they_are_needed(edit, reason, recorded, tmp_path):
    change(write_delivered_plan(tmp_path) / "rp_1.dcm", edit)
    case = load_dicom(DicomCase(dicom=str(tmp_path), target="GTV"))
    assert case.plan.beams == ()
    with pytest.raises(ConfigError, match=f"plan: dose 'PLAN' has no parts: RTPLAN rp_1.dcm.*{reason}.*model: rtdose"):
        model().check([order(case)])


def test_segments_last_as_long_as_the_slowest_of_dose_gantry_and_leaves(case):
    arc, _ = case.plan.beams
    np.testing.assert_allclose(segments_of(arc, MachineSpeeds(30, 6, 20)).seconds, 15, rtol=1e-5)
    np.testing.assert_allclose(segments_of(arc, MachineSpeeds(5, 6, 20)).seconds, 30, rtol=1e-5)
    quick = replace(arc, monitor_units_per_s=None)
    np.testing.assert_allclose(segments_of(quick, MachineSpeeds(1000, 6, 20)).seconds, 20 / 6)
    far = arc.leaves_mm.copy()
    far[3, 40, 1] += 30
    seconds = segments_of(replace(quick, leaves_mm=far), MachineSpeeds(1000, 6, 5)).seconds
    np.testing.assert_allclose(seconds, [20 / 6, 20 / 6, 6, 6, 20 / 6, 20 / 6])


def test_a_segment_is_the_mean_of_its_ends_no_wider_than_the_jaws(case):
    arc, _ = case.plan.beams
    narrow = replace(arc, jaws_x_mm=np.linspace([-10, 4], [-10, 16], 7))
    found = segments_of(narrow, Recorded.speeds)
    np.testing.assert_allclose(found.gantry_deg, [320, 340, 360, 380, 400, 420])
    np.testing.assert_allclose(found.leaves_mm[:, 40, 0], -10)
    np.testing.assert_allclose(found.leaves_mm[:, 40, 1], [5, 7, 9, 11, 13, 15])
    assert found.monitor_units.sum() == pytest.approx(900)


def test_groups_are_no_longer_than_asked_and_cover_the_fraction(case):
    parts = [segments_of(beam, Recorded.speeds) for beam in case.plan.beams]
    groups = groups_of(parts, 31.0)
    assert [len(group.seconds) for group in groups] == [2, 2, 2, 1]
    assert sum(group.monitor_units.sum() for group in groups) == pytest.approx(1200)
    np.testing.assert_allclose(windows(groups), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)], atol=1e-6)
    held = replace(parts[0], monitor_units=np.array([150.0, 0, 0, 150, 0, 0]), seconds=np.array([15.0, 0, 0, 15, 0, 0]))
    assert [group.monitor_units.sum() for group in groups_of([held], 4.0)] == [150, 150]


def falling(at_mm=0.0, sd_mm=6.0, step_mm=2.0):
    """A round dose of 60 Gy."""
    grid = Grid((-40.0, -40.0, -40.0), (step_mm,) * 3, (41, 41, 41))
    away2 = ((grid.nodes_mm() - [at_mm, 0, 0]) ** 2).sum(axis=-1)
    return Volume(grid, (60 * np.exp(-away2 / (2 * 12.0**2))).astype(np.float32))


@pytest.mark.parametrize(("at_mm", "is_close"), [(0.0, True), (1.0, True), (1.9, False), (4.0, False)])
def test_a_dose_is_close_within_3_percent_and_2_mm(at_mm, is_close):
    """A dose displaced by less than 2 mm has all points near; its RMS may be too large all the same."""
    found = compare(falling(at_mm).values / 20, falling())
    assert found.is_close == is_close
    assert found.factor == pytest.approx(20, rel=0.02)
    assert (found.points_percent > 99.9) == (at_mm < 2)
    steepest = 100 / 12 * np.exp(-0.5)
    assert found.rms_percent <= steepest * at_mm + 1e-4


def test_a_dose_that_is_right_where_it_is_high_and_wrong_where_it_is_low_is_not_close():
    """Half of the dose where less than half of the highest is wanted: no difference above half, points far from any dose."""
    reference = falling()
    low = reference.values < 0.5 * reference.values.max()
    found = compare(np.where(low, reference.values / 2, reference.values), reference)
    assert found.factor == pytest.approx(1)
    assert found.rms_percent == pytest.approx(0, abs=1e-4)
    assert found.points_percent < 95
    assert not found.is_close


def test_the_grid_of_an_engine_holds_the_patient_and_the_nodes_of_the_dose(case):
    dose = Grid((-21.0, -23.0, -12.0), (3.0, 3.0, 3.0), (9, 15, 14))
    grid, kept = engine_grid(case.density.grid, dose)
    np.testing.assert_allclose(grid.nodes_mm()[kept], dose.nodes_mm())
    assert grid.shape[0] == 9
    for axis in (0, 1):
        assert grid.origin_mm[axis] <= case.density.grid.origin_mm[axis]
        assert grid.upper_mm[axis] >= case.density.grid.upper_mm[axis]
    coarse = density_on(case.density, grid)
    assert float(coarse.values[4, :, :].sum() * 9) == pytest.approx(
        float(case.density.values[case.density.grid.shape[0] // 2].sum() * np.prod(case.density.grid.spacing_mm[:2])),
        rel=0.01,
    )


def test_a_plan_is_the_planning_systems_dose_and_the_sum_of_its_parts(case, recorded):
    plan, imported = (
        model().plan(order(case)),
        ImportedDoses.model_validate({"doses": [{"dose": "PLAN"}]}).plan(order(case)),
    )
    assert plan.factor == pytest.approx(FACTOR, rel=1e-4)
    points = np.random.default_rng(1).uniform(*BOX, (200, 3))
    np.testing.assert_array_equal(plan.dose.at(points), imported.dose.at(points))
    np.testing.assert_allclose(plan.parts_gy.sum(axis=0), case.doses[0].dose_gy.values, atol=1e-5)
    parts = plan.parts_in(case.density, 90.0, BOX)
    np.testing.assert_allclose([(part.begin, part.end) for part in parts], plan.windows)
    np.testing.assert_allclose([part.end for part in parts], [*np.arange(1, 7) / 8, 1], atol=1e-5)
    total = np.sum([part.dose.at(points) for part in parts], axis=0)
    np.testing.assert_allclose(total, plan.dose.at(points), rtol=3e-4)
    for part, gy in zip(parts, FRACTIONS * FACTOR * recorded_gy(), strict=True):
        own = SplineDose(Volume(plan.grid, gy)).at(points)
        np.testing.assert_allclose(part.dose.at(points), own, atol=0.01 * plan.dose.at(points).max())
    twice = plan.scaled(2.0)
    np.testing.assert_allclose(twice.dose.at(points), 2 * plan.dose.at(points), rtol=1e-6)
    np.testing.assert_allclose(
        twice.parts_in(case.density, 90.0, BOX)[0].dose.at(points), 2 * parts[0].dose.at(points), rtol=1e-6
    )
    np.testing.assert_allclose(twice.dose_on(case.density).at(points), twice.dose.at(points), rtol=1e-5)


def test_parts_sum_to_a_planning_systems_dose_that_differs_from_the_engines(recorded, tmp_path):
    """2 % more on one side, where the engine has nothing some dose, and everything positive."""
    wanted = FRACTIONS * recorded_gy().sum(axis=0) * np.linspace(1.0, 1.02, SHAPE[2])
    case = load_dicom(DicomCase(dicom=str(write_delivered_plan(tmp_path, wanted + 0.1)), target="GTV"))
    plan = model().plan(order(case))
    np.testing.assert_allclose(plan.parts_gy.sum(axis=0), case.doses[0].dose_gy.values, rtol=1e-5)
    assert plan.parts_gy.min() > 0
    np.testing.assert_allclose(plan.dose_on(case.density).on_grid(plan.grid), case.doses[0].dose_gy.values, rtol=1e-4)


def test_a_plan_on_another_density_meets_that_density(case, recorded):
    plan = model().plan(order(case))
    grid = case.density.grid
    moved = Volume(Grid(tuple(np.add(grid.origin_mm, (4.0, 0, 0))), grid.spacing_mm, grid.shape), case.density.values)
    planned = recorded.densities[-1]
    plan.dose_on(moved)
    met = recorded.densities[-1]
    middle = [np.average(v.grid.axes_mm[0], weights=v.values.sum(axis=(0, 1))) for v in (planned, met)]
    assert middle[1] - middle[0] == pytest.approx(4, abs=0.05)


def test_a_dose_that_does_not_agree_is_refused(recorded, typed, tmp_path):
    beside = np.roll(FRACTIONS * recorded_gy().sum(axis=0), 2, axis=2)
    path = study(write_delivered_plan(tmp_path / "patient", beside), tmp_path)
    code, said = typed("run", path, "--out", tmp_path / "out", "--workers", 1, "--quiet")
    assert code == 2
    assert "pydosert with machine 'elekta_10MV' does not give dose 'PLAN' again: " in said
    assert "at least 95 % of points and at most 3 % RMS are wanted" in said


def test_a_study_with_the_parts_of_an_rtplan(patient, recorded, tmp_path):
    results = simulator.run(load_study(study(patient, tmp_path)), workers=1)
    found = results["engine"].to_dataset().isel(strategy=0)
    assert found["factor"].item() == pytest.approx(FACTOR, rel=1e-4)
    assert found["points_percent"].item() == 100
    assert found["rms_percent"].item() < 0.1
    assert results["metrics/nominal"].sel(metric="GTV Dmean").item() > 50
    render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "100.0 % of the points above a tenth of the highest dose are within 3 % of it / 2 mm" in page
    assert "computed from the control points of the RTPLAN by pydosert (machine elekta_10MV)" in page
    assert "its parts, and what it is on other anatomy, come from an engine" in page


def test_without_the_extra_a_message_says_how_to_install_it(patient, monkeypatch, typed, tmp_path):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    code, said = typed("check", study(patient, tmp_path))
    assert code == 2
    assert said.startswith("error: plan.engine: pydosert is not installed; install it with")
    assert '".[engine]"' in said
    monkeypatch.setattr(metadata, "version", lambda name: "1.6.0")
    with pytest.raises(ConfigError, match=r"pydosert 1\.6\.0 is installed, 1\.5\.0 is wanted"):
        engine_of("pydosert", "elekta_10MV")
