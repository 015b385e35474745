"""The near-minimum of small targets, D(V - 35 mm³): closed forms of spheres, and the page that compares it with D98%."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import simulator

DOCS = Path(__file__).parents[1] / "docs"
MAKE = runpy.run_path(str(DOCS / "make_near_minimum.py"))
ROWS = {
    float(line.split("|")[1]): [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (DOCS / "explanation" / "near_minimum.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and line[2].isdigit()
}


def planned_percent(radius_mm: float, cold_cc: float) -> float:
    """Dose of the closed form on the sphere inside which all but the cold part lies, in percent of the prescription."""
    within_mm = np.cbrt(radius_mm**3 - 1000 * cold_cc * 3 / (4 * np.pi))
    half_dose_mm = radius_mm + MAKE["MARGIN_MM"] + ndtri(0.8) * 3.2
    return 100 * ndtr((half_dose_mm - within_mm) / 3.2) / 0.8


def test_the_planned_near_minimum_of_a_sphere_is_that_of_the_closed_form():
    results = simulator.run(MAKE["study"](6), courses=10)
    found = 2 * results["metrics/nominal"].isel(strategy=0).sel(metric="GTV DC0.035cc").item()
    assert found == pytest.approx(planned_percent(3, 0.035), abs=0.05)


def test_the_page_has_the_closed_forms_of_each_sphere():
    assert list(ROWS) == list(MAKE["DIAMETERS_MM"])
    for diameter_mm, cells in ROWS.items():
        volume, two_percent, shell_98, shell_35 = MAKE["geometry"](diameter_mm)
        assert cells[1:3] == [f"{volume / 1000:.3f}", f"{two_percent:.0f}"]
        assert float(cells[3][1:-1]) == pytest.approx(100 * (1 - 35 / volume), abs=0.051)
        assert cells[4:6] == [f"{shell_98:.2f}", f"{shell_35:.2f}"]
        assert float(cells[6]) == pytest.approx(planned_percent(diameter_mm / 2, 0.02 * volume / 1000), abs=0.11)
        assert float(cells[7]) == pytest.approx(planned_percent(diameter_mm / 2, 0.035), abs=0.11)


@pytest.mark.nightly
@pytest.mark.parametrize("diameter_mm", MAKE["DIAMETERS_MM"])
def test_the_page_has_the_simulated_probabilities(diameter_mm):
    assert [cell.strip() for cell in MAKE["row"](diameter_mm).split("|")[1:-1]] == ROWS[diameter_mm]
