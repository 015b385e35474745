"""A head-and-neck plan against brute force: near-maximum doses of organs and edges of targets, at rest and displaced."""

import sys

import numpy as np
import pytest
from brute_force import FineCells, LimitedSpline
from scipy.special import ndtr

from simulator.ground.parallel import SerialExecutor
from simulator.problem.preparation import prepare
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.schema import StudyConfig

RX_GY, N_COURSES, CELL_MM = 70.0, 6, 0.5
TARGET, ORGANS = "PTV70", ("Brainstem", "SpinalCord", "LeftParotid")
METRICS = {"target": ("D98%", "D95%", "Dmean", "D0.035cc"), "organ": ("D0.035cc", "Dmax", "D98%", "Dmean")}


def compared(path):
    """By metric, (ours, brute force) in Gy, each (1 + course,): at rest, then in displaced courses."""
    arrays = np.load(path)
    shape = arrays["ct"].shape
    masks = np.unpackbits(arrays["masks"], axis=1, count=int(np.prod(shape))).reshape(-1, *shape).astype(bool)
    bodies = dict(zip((str(name) for name in arrays["names"]), masks, strict=True))
    bodies = {name: mask for name, mask in bodies.items() if name in (TARGET, *ORGANS) and mask.any()}
    wanted = [f"{name} {m}" for name in bodies for m in METRICS["target" if name == TARGET else "organ"]]
    study = StudyConfig.model_validate(
        {
            "name": "head-and-neck",
            "case": {"file": str(path), "target": TARGET, "structures": [n for n in bodies if n != TARGET]},
            "prescription": {"dose_gy": RX_GY, "fractions": 35},
            "plan": {"model": "rtdose", "doses": [{"margin_mm": 0, "dose": "dose"}]},
            "uncertainty": {"setup": {"systematic_mm": 2.5, "random_mm": 0}},
            "strategies": {"margins_mm": [0], "motion": ["none"], "guidance": ["none"]},
            "goals": [f"{metric} >= 1 Gy" for metric in wanted],
            "courses": N_COURSES,
        }
    )
    problem = prepare(study)
    (strategy,) = problem.strategies
    draws = course_draws(problem, 0, N_COURSES)
    delivery = deliver_courses(problem, strategy, draws)
    work = prepare_work(problem, strategy, make_plan(problem, problem.requests[0]), [delivery], SerialExecutor())
    labels = [m.label for s in problem.structures for m in problem.metrics[s.name]]
    ours = np.concatenate([work.nominal()[0][None], work.block(draws, delivery)["values"]])
    ours_gy = {label: ours[:, i] for i, label in enumerate(labels)}
    dose, edges_mm, found = LimitedSpline(arrays["dose"]), arrays["voxel_mm"], {}
    for name, mask in bodies.items():
        cells = FineCells.of_voxels(mask, edges_mm, CELL_MM)
        motion = delivery.motion(name)
        shifts_mm = np.concatenate([np.zeros((1, 3)), np.einsum("ckx,ck->cx", motion.shift_mm, motion.weight)])
        rows = [cells.metrics(dose, np.array([y, x, -z]) / edges_mm, {"D0.035cc": 0.035}) for x, y, z in shifts_mm]
        for metric in METRICS["target" if name == TARGET else "organ"]:
            label = f"{name} {metric}"
            found[label] = ours_gy[label], np.array([row[metric] for row in rows])
    return found


@pytest.mark.nightly
def test_doses_of_a_clinical_plan_agree_with_brute_force(data_folder):
    """To 0.3 % of the prescription, at rest and displaced."""
    for label, (ours_gy, brute_gy) in compared(data_folder / "openkbp" / "pt_201.npz").items():
        assert len(brute_gy) == 1 + N_COURSES
        np.testing.assert_allclose(ours_gy, brute_gy, rtol=0, atol=0.003 * RX_GY, err_msg=label)


@pytest.mark.nightly
def test_the_hottest_and_coldest_volumes_of_a_large_target_lie_in_small_cells(tmp_path):
    """A target of 380 cc, which begins with cells of 3 mm, with a hot spot of 5 mm (one SD) and a cold edge."""
    centre, shape, edges_mm = np.array([60.0, 60.0, 60.0]), (41, 41, 41), np.array([3.0, 3.0, 3.0])
    place = np.stack(np.meshgrid(*(3.0 * np.arange(n) for n in shape), indexing="ij"), axis=-1)
    target = np.linalg.norm(place - centre, axis=-1) < 45
    cord = np.linalg.norm((place - [108, 60, 0])[..., :2], axis=-1) < 6
    hot = np.exp(-(((place - [40, 70, 50]) ** 2).sum(axis=-1)) / 50)
    dose = RX_GY * ndtr((48 - np.linalg.norm(place - centre, axis=-1)) / 5) * (1 + 0.3 * hot)
    np.savez(
        tmp_path / "plan.npz", ct=np.full(shape, 1024), dose=dose, voxel_mm=edges_mm, names=np.array([TARGET, "SpinalCord"]),
        masks=np.packbits(np.stack([target, cord]).reshape(2, -1), axis=1),
    )  # fmt: skip
    for label, (ours_gy, brute_gy) in compared(tmp_path / "plan.npz").items():
        np.testing.assert_allclose(ours_gy, brute_gy, rtol=0, atol=0.003 * RX_GY, err_msg=label)


def test_at_rest_an_imported_dose_with_steep_edges_is_the_planned_one(tmp_path, monkeypatch):
    """To 0.1 % of the prescription, near the target and in cells far from it; edges have an SD of 2 mm on a grid of 3 mm."""
    monkeypatch.setattr(sys.modules[__name__], "N_COURSES", 1)
    shape, edges_mm = (33, 25, 25), np.array([3.0, 3.0, 3.0])
    z, y, x = np.meshgrid(*(3.0 * np.arange(n) for n in shape), indexing="ij")
    from_centre, step = np.sqrt((x - 36) ** 2 + (y - 36) ** 2 + (z - 24) ** 2), ndtr((z - 79.5) / 2)
    organ = (np.abs(x - 36) < 17) & (np.abs(y - 36) < 17) & (np.abs(z - 75) < 13)
    dose = (5 + 0.2 * y) * (1 - step) + (0.9 * RX_GY + 0.1 * x) * step + RX_GY * ndtr((24 - from_centre) / 2)
    turned = (2, 1, 0)
    np.savez(
        tmp_path / "plan.npz", ct=np.full(shape[::-1], 1024), dose=dose.transpose(turned), voxel_mm=edges_mm,
        names=np.array([TARGET, "LeftParotid"]),
        masks=np.packbits(np.stack([m.transpose(turned) for m in (from_centre < 14, organ)]).reshape(2, -1), axis=1),
    )  # fmt: skip
    for label, (ours_gy, brute_gy) in compared(tmp_path / "plan.npz").items():
        assert ours_gy[0] == pytest.approx(brute_gy[0], abs=0.001 * RX_GY), label
        assert ours_gy[0] <= dose.max(), label
