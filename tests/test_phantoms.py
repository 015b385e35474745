"""Phantoms: names, sizes, distances, disjoint organs, and default plans within the RTOG 0813/0915 table."""

import numpy as np
import pytest

from simulator.case.geometry import Grid
from simulator.case.phantoms import AbdominalPhantom, MediastinalPhantom, PelvicPhantom
from simulator.case.shapes import surface_distance_mm
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.targets import Expansion, planning_target

PHANTOMS = {"mediastinal": MediastinalPhantom, "abdominal": AbdominalPhantom, "pelvic": PelvicPhantom}
VOLUMES_CC = {
    "mediastinal": {"SpinalCord": (12, 30), "Esophagus": (30, 80), "Heart": (500, 900), "BronchialTree_Prox": (15, 40),
                    "GreatVes": (150, 400), "Trachea": (15, 40), "Lungs": (2500, 5000), "ChestWall": (1500, 4500)},
    "abdominal": {"Liver": (1200, 1900), "Kidney_L": (120, 200), "Kidney_R": (120, 200), "Duodenum": (60, 130),
                  "Bowel_Small": (200, 900), "Stomach": (200, 400), "Bowel_Large": (300, 700), "SpinalCord": (12, 30),
                  "Bladder": (100, 300)},
    "pelvic": {"Bladder": (100, 300), "Rectum": (40, 110), "Bowel_Large": (60, 250), "Bowel_Small": (100, 900),
               "CaudaEquina": (5, 20), "SacralPlex_L": (3, 12), "SacralPlex_R": (3, 12), "Femur_Head_L": (40, 70),
               "Femur_Head_R": (40, 70)},
}  # fmt: skip


@pytest.fixture(scope="module", params=PHANTOMS)
def case(request):
    return PHANTOMS[request.param]().build()


def test_organs_have_plausible_volumes(case):
    expected = VOLUMES_CC[case.name]
    assert set(expected) <= set(case.structures)
    for name, (low, high) in expected.items():
        assert low <= case.structures[name].volume_cc <= high, name


def test_organs_do_not_overlap(case):
    lower, upper = case.gtv.region.bounds_mm
    grid = Grid.covering(lower - 45, upper + 45, 3.0)
    total = sum(s.region.occupancy(grid) for s in case.structures.values() if s.role != "external")
    assert total.max() < 1.25, "partial voxels of touching organs may add up to a little more than one"
    assert np.mean(total > 1.05) < 2e-3


def test_target_lies_alone_in_tissue(case):
    grid = Grid.covering(*case.gtv.region.bounds_mm, 1.0)
    inside = case.gtv.region.occupancy(grid) > 0
    for structure in case.structures.values():
        if structure.role == "oar":
            assert not np.any(structure.region.occupancy(grid)[inside] > 0), structure.name
    assert np.allclose(case.gtv.centroid_mm, 0, atol=0.05)


@pytest.mark.parametrize(
    ("phantom", "organ", "distance"),
    [
        (MediastinalPhantom(esophagus_distance_mm=7, node_diameter_mm=24), "Esophagus", 7),
        (MediastinalPhantom(bronchi_distance_mm=9), "BronchialTree_Prox", 9),
        (MediastinalPhantom(heart_distance_mm=12), "Heart", 12),
        (MediastinalPhantom(cord_distance_mm=40), "SpinalCord", 40),
        (AbdominalPhantom(duodenum_distance_mm=15), "Duodenum", 15),
        (AbdominalPhantom(bowel_distance_mm=6), "Bowel_Small", 6),
        (AbdominalPhantom(kidney_distance_mm=11, node_diameter_mm=30), "Kidney_L", 11),
        (PelvicPhantom(bladder_distance_mm=3), "Bladder", 3),
        (PelvicPhantom(bowel_distance_mm=14), "Bowel_Small", 14),
        (PelvicPhantom(plexus_distance_mm=12), "SacralPlex_L", 12),
    ],
)
def test_distances_are_what_the_study_asks_for(phantom, organ, distance):
    case = phantom.build()
    found = surface_distance_mm(case.gtv.region, case.structures[organ].region, 0.5)
    assert found == pytest.approx(distance, abs=0.5)


@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_default_plans_meet_the_rtog_table(case, margin):
    breathing = np.array([[0, 0, 2.0], [0, 0, -3.0]]) if margin else np.zeros((1, 3))
    target = planning_target(case.gtv.region, breathing)
    expansion = Expansion(np.full(3, margin), np.full(3, margin))
    plan = ConformalArc().plan(
        Order(case, target, expansion, Prescription(dose_gy=50, fractions=5, isodose_percent=80))
    )
    assert plan.quality.r100 <= 1.2
    assert plan.quality.r100_deviation == "none"
    assert plan.quality.r50_deviation in ("none", "minor")
    assert plan.quality.d2cm_deviation in ("none", "minor")
    assert plan.quality.ptv_d95_gy == pytest.approx(50, rel=1e-3)
