"""The engine itself, where it is installed: what was recorded, where fields land, and what a slab of water takes away."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from delivered_plans import EDGES_MM, FRACTIONS, recorded_gy, write_delivered_plan

from simulator.case.dicom import load_dicom
from simulator.case.geometry import Grid, Volume
from simulator.case.sources import DicomCase
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.spec import ConfigError
from simulator.plan.delivered import DeliveredDoses, _Delivery
from simulator.plan.engine.comparison import compare
from simulator.plan.engine.engines import engine_of
from simulator.plan.engine.segments import segments_of

pytest.importorskip("pydosert", reason="the engine is not installed: install the extra engine")

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "engine.md").read_text(encoding="utf-8")
GRID = Grid((-75.0, -75.0, -75.0), (3.0, 3.0, 3.0), (51, 51, 51))


@pytest.fixture(scope="module")
def engine():
    return engine_of("pydosert", "elekta_10MV")


def beam(low_mm=-20.0, high_mm=20.0, gantry_deg=0.0, collimator_deg=0.0, jaws_mm=(-20.0, 20.0)):
    """A static beam of 100 MU aimed at the origin."""
    middle = (EDGES_MM[1:] + EDGES_MM[:-1]) / 2
    leaves = np.where((np.abs(middle) < 40)[:, None], [low_mm, high_mm], 0.0)
    return TreatmentBeam(
        number=1, name="1", energy_mv=10, monitor_units=100, delivered=np.array([0.0, 1.0]),
        gantry_deg=np.full(2, gantry_deg), collimator_deg=np.full(2, collimator_deg), couch_deg=np.zeros(2),
        leaves_mm=np.stack([leaves] * 2), leaf_edges_mm=EDGES_MM, jaws_x_mm=np.array([[-200.0, 200.0]] * 2),
        jaws_y_mm=np.array([jaws_mm] * 2), isocentre_mm=np.zeros(3), source_mm=1000.0,
    )  # fmt: skip


def dose_of(engine, some, density=None):
    water = Volume(GRID, np.ones(GRID.shape, np.float32)) if density is None else density
    return engine.dose_gy(water, segments_of(some, engine.speeds))


def edges_mm(dose_gy, axis):
    """The middle between the two half-dose points along an axis (x, y, z) through the isocentre."""
    line = np.take(np.moveaxis(dose_gy, 2 - axis, 0).reshape(51, -1), 25 * 51 + 25, axis=1)
    above = np.flatnonzero(line > line.max() / 2)
    half = line.max() / 2
    first, last = above[0], above[-1]
    low = first - (line[first] - half) / (line[first] - line[first - 1])
    high = last + (line[last] - half) / (line[last] - line[last + 1])
    return 3.0 * (low + high) / 2 - 75


def test_what_was_recorded_is_computed_again(tmp_path):
    case = load_dicom(DicomCase(dicom=str(write_delivered_plan(tmp_path)), target="GTV"))
    delivery = _Delivery.of(DeliveredDoses.model_validate({"machine": "elekta_10MV"}), case)
    again = delivery.parts_gy(case.density) / FRACTIONS
    np.testing.assert_allclose(again, recorded_gy(), atol=2e-3 * recorded_gy().max())
    whole = _Delivery.of(DeliveredDoses.model_validate({"machine": "elekta_10MV", "part_s": 60}), case)
    assert len(whole.groups) < len(delivery.groups)
    total = whole.parts_gy(case.density).sum(axis=0)
    np.testing.assert_allclose(total, FRACTIONS * again.sum(axis=0), atol=1e-5 * total.max())


@pytest.mark.parametrize(
    ("some", "axis", "at_mm"),
    [
        (beam(-5, 35), 0, 15),
        (beam(-5, 35, gantry_deg=180), 0, -15),
        (beam(-5, 35, gantry_deg=90), 1, 15),
        (beam(-5, 35, collimator_deg=90), 2, 15),
        (beam(jaws_mm=(-5, 35)), 2, 15),
    ],
    ids=["leaves", "from below", "from the left", "collimator turned", "jaws"],
)
def test_fields_land_where_iec_61217_says(engine, some, axis, at_mm):
    assert edges_mm(dose_of(engine, some), axis) == pytest.approx(at_mm, abs=0.2)


def test_a_slab_of_water_takes_away_as_much_as_the_depth(engine):
    """What lies behind 30 mm more of water receives the dose of 30 mm deeper, but for the distance from the source."""
    values = np.full(GRID.shape, 0.001, np.float32)
    values[:, 10:, :] = 1
    plain = dose_of(engine, beam(), Volume(GRID, values))[25, :, 25] * (1000 + GRID.axes_mm[1]) ** 2
    values[:, 20:30, :] = 2
    behind = dose_of(engine, beam(), Volume(GRID, values))[25, :, 25] * (1000 + GRID.axes_mm[1]) ** 2
    np.testing.assert_allclose(behind[32:41], plain[42:51], rtol=0.01)
    assert behind[36] / plain[36] == pytest.approx(np.exp(-0.0035 * 30), abs=0.04)


def test_the_machine_file_of_the_page_is_one_for_6_mv(tmp_path):
    (text,) = re.findall(r'^```json title="linac-6mv.json"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "linac-6mv.json").write_text(text)
    widths = np.repeat([10.0, 5.0, 10.0], [10, 40, 10])
    edges = np.cumsum([-200.0, *widths])
    leaves = np.where(np.abs(edges[1:] + edges[:-1])[None, :, None] < 40, [-20.0, 20.0], 0.0).repeat(2, axis=0)
    some = replace(beam(), energy_mv=6, leaf_edges_mm=edges, leaves_mm=leaves)
    own = engine_of("pydosert", str(tmp_path / "linac-6mv.json"))
    own.check([some])
    assert own.speeds.gantry_deg_per_s == 6
    soft, hard = (dose_of(own, some), dose_of(engine_of("pydosert", "elekta_10MV"), beam()))
    left = [gy[25, 45, 25] / gy[25, 15, 25] for gy in (soft, hard)]
    assert left[0] < 0.97 * left[1]


@pytest.mark.nightly
def test_a_clinical_arc_agrees_with_its_planning_system(data_folder):
    """docs/explanation/studies.md: RMS 1.3 %, factor 1.005."""
    case = load_dicom(DicomCase(dicom=str(data_folder / "alderson_pelvis"), target="PTV", rtdoses=("46671",)))
    delivery = _Delivery.of(DeliveredDoses.model_validate({"machine": "elekta_10MV"}), case)
    found = compare(delivery.parts_gy(case.density).sum(axis=0), delivery.wanted.dose_gy)
    assert len(delivery.groups) == 75
    assert found.points_percent > 99.9
    assert found.rms_percent == pytest.approx(1.27, abs=0.03)
    assert found.factor == pytest.approx(1.005, abs=0.002)


def test_a_machine_that_is_not_that_of_the_plan_is_refused(engine, tmp_path):
    with pytest.raises(ConfigError, match=r"plan.machine: 'truebeam' is no preset of pydosert \(.*elekta_10MV"):
        engine_of("pydosert", "truebeam")
    with pytest.raises(ConfigError, match=r"elekta_10MV is a beam of 10 MV, beam '1' of the RTPLAN has 6 MV"):
        engine.check([replace(beam(), energy_mv=6)])
    with pytest.raises(ConfigError, match="turns the couch"):
        engine.check([replace(beam(), couch_deg=np.array([10.0, 10.0]))])
    with pytest.raises(ConfigError, match="varian_10MV has 60 leaf pairs"):
        engine_of("pydosert", "varian_10MV").check([beam()])
    mixed = tmp_path / "mixed.json"
    mixed.write_text(json.dumps({"tpr_20_10": 0.68, "number_of_leaf_pairs": 80, "leaf_widths": [5.0] * 80}))
    own = engine_of("pydosert", str(mixed))
    own.check([replace(beam(), energy_mv=6)])
    with pytest.raises(ConfigError, match="several energies"):
        own.check([replace(beam(), energy_mv=6), beam()])
    mixed.write_text('{"tpr_20_10": 0.68, "leaves": 3}')
    with pytest.raises(ConfigError, match=r"mixed.json.*docs/how-to/engine.md"):
        engine_of("pydosert", str(mixed))
    mixed.write_text("{")
    with pytest.raises(ConfigError, match=r"mixed.json.*docs/how-to/engine.md"):
        engine_of("pydosert", str(mixed))
