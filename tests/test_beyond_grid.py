"""Organs and courses that reach beyond the grid of an imported dose: known, unknown and left out, or refused."""

import numpy as np
import pytest
from dicom_factory import Z_MM, phantom_structures, write_phantom_dicom
from prepared import problems_of

from simulator.answers.beyond_grid import FallingBeyond
from simulator.case.geometry import Grid
from simulator.ground.spec import ConfigError
from simulator.study_file.schema import StudyConfig


def node(x, y, z):
    """50 Gy in the middle, less than 1 Gy beyond 35 mm."""
    return 60 * np.exp(-((x - 5) ** 2 + (y + 3) ** 2 + (z - 6) ** 2) / (2 * 14.0**2))


def hot(x, y, z):
    return 50 + 0.1 * y + 0 * x


def study_on(folder, *goals, values=node, half_y=35.0, setup=1.0, structures=None):
    """A study on an imported dose whose grid ends at y = `half_y`."""
    rows = round((half_y + 35) / 2.5) + 1
    dose = {"values": values, "origin": (-60.0, -35.0, -48.0), "shape": (37, rows, 41)}
    write_phantom_dicom(folder, ct_z=(), doses=[dose], structures=structures)
    return StudyConfig.model_validate(
        {
            "name": "beyond",
            "case": {"dicom": str(folder), "target": "GTV"},
            "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 83},
            "plan": {"model": "rtdose", "doses": [{"margin_mm": 0, "dose": "PLAN"}]},
            "uncertainty": {"setup": {"systematic_mm": setup, "random_mm": setup}},
            "strategies": {"margins_mm": [0], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 50%", *goals],
            "courses": 50,
        }
    )


def labels(study):
    (problem,) = problems_of(study)
    return set(problem.metric_labels), problem.notes


def test_inside_the_grid_nothing_changes(tmp_path):
    known, notes = labels(study_on(tmp_path, "SpinalCord Dmean <= 50 Gy", half_y=60.0))
    assert {"SpinalCord Dmean", "SpinalCord D0.035cc", "GTV D98%"} <= known
    assert not any("dose grid" in note for note in notes)


def test_an_organ_beyond_a_cold_face_is_known_and_marked(tmp_path):
    known, notes = labels(study_on(tmp_path, "SpinalCord D0.035cc <= 25 Gy", half_y=32.5))
    assert {"SpinalCord Dmean", "SpinalCord D0.035cc"} <= known
    assert any("SpinalCord: in part, or in some courses, outside the dose grid" in note for note in notes)


@pytest.mark.parametrize("half_y", [20.0, 25.0], ids=["wholly outside", "at the face"])
@pytest.mark.parametrize("values", [hot, lambda x, y, z: hot(x, -y, z)], ids=["rising", "falling"])
def test_an_organ_beyond_a_hot_face_is_unknown(tmp_path, half_y, values):
    study = study_on(tmp_path, values=values, half_y=half_y)
    known, notes = labels(study)
    assert not any(label.startswith("SpinalCord") for label in known)
    assert any("unknown" in note and "SpinalCord Dmean" in note for note in notes)
    (problem,) = problems_of(study)
    assert "SpinalCord Dmean" in problem.case.description
    with pytest.raises(ConfigError, match=r"goals: SpinalCord Dmean <= 55 Gy: decided by the dose outside the grid"):
        problems_of(study.model_copy(update={"goals": (*study.goals, "SpinalCord Dmean <= 55 Gy")}))


def test_what_the_inner_part_decides_is_known_and_the_rest_is_not(tmp_path):
    """Half of a slab lies beyond the grid, where the nearest face has 4 Gy: its hottest part is known, its mean is not."""
    slab = [np.array([[-20, 12, z], [20, 12, z], [20, 50, z], [-20, 50, z]], float) for z in Z_MM]
    study = study_on(tmp_path, half_y=30.0, structures=phantom_structures() | {"Bowel": ("ORGAN", slab)})
    known, _ = labels(study)
    assert "Bowel D0.035cc" in known
    assert "Bowel Dmean" not in known
    with pytest.raises(ConfigError, match="Bowel Dmean <= 20 Gy"):
        problems_of(study.model_copy(update={"goals": (*study.goals, "Bowel Dmean <= 20 Gy")}))


def test_published_goals_on_unknown_metrics_are_left_out_and_named(tmp_path):
    study = study_on(tmp_path, "mediastinal-5fx", values=hot, half_y=20.0)
    (problem,) = problems_of(study)
    assert not any(g.metric.structure == "SpinalCord" for g in problem.goals)
    assert any("left out: SpinalCord D0.035cc" in note for note in problem.notes)


def test_a_target_that_courses_carry_beyond_a_hot_face_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"GTV D98% >= 50%.* decided by the dose outside the grid"):
        problems_of(study_on(tmp_path, values=hot, half_y=10.0, setup=5.0))


def test_beyond_its_grid_a_dose_falls_by_a_penumbra():
    class One:
        def on_grid(self, grid):
            return np.ones(grid.shape, np.float32)

        def at(self, points_mm):
            return np.ones(len(points_mm))

    dose = FallingBeyond(One(), Grid((0, 0, 0), (1, 1, 1), (11, 11, 11)))
    points = np.array([[5, 5, 5], [-5, 5, 5], [15, 5, 5], [5, 20, -5]], float)
    np.testing.assert_allclose(dose.at(points), np.exp([0, -1, -1, -3]))
    nodes = Grid((-5, 0, -5), (5, 5, 5), (5, 5, 5))
    np.testing.assert_allclose(dose.on_grid(nodes).ravel(), dose.at(nodes.nodes_mm().reshape(-1, 3)), rtol=1e-6)
