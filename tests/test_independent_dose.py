"""Planned doses against a direct evaluation of the beam model: point by point, ray by ray, in plain numpy.

Shared with the simulator are the model's numbers (spreads, shares, depth dose) and what the plan opens; everything else
(where a point lies in the beam, the density along its ray, the blur of each leaf pair's opening, lung's share) is done
again without kernels, tables, fans of rays or grids.
"""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import ndtr

from simulator import load_study, prepare
from simulator.simulation.plans import make_plan

STEP_MM = 1.0
SAD_MM = 1000.0


def density_at(density, points_mm):
    """Trilinear density at points (..., 3); air outside the image."""
    index = np.moveaxis((points_mm - np.array(density.grid.origin_mm)) / np.array(density.grid.spacing_mm), -1, 0)
    return map_coordinates(np.asarray(density.values, float), index[::-1], order=1, mode="constant", cval=0.0)


def water_equivalent_mm(density, source_mm, point_mm):
    """Density summed along the ray from the source to a point."""
    ray = point_mm - source_mm
    length = np.linalg.norm(ray)
    n = int(np.ceil(700.0 / STEP_MM))
    back = length - STEP_MM * (np.arange(n) + 0.5)
    return STEP_MM * density_at(density, source_mm + np.outer(back / length, ray)).sum()


def smoothed_density(density):
    """Density with air as water, blurred by 6 mm (weight 0.8) and by 20 mm (0.2)."""
    values = np.where(np.asarray(density.values) < 0.1, 1.0, np.asarray(density.values, float))
    spacing = np.array(density.grid.spacing_mm[::-1])
    return sum(
        w * gaussian_filter(values, sd / spacing, mode="nearest", truncate=4) for w, sd in ((0.8, 6.0), (0.2, 20.0))
    )


def blurred_opening(rows, u, v, sd_mm):
    """An aperture convolved with a Gaussian at one place: the sum over rows of two differences of normal distributions."""
    along_v = np.diff(ndtr((rows.edge_mm - v) / sd_mm))
    return float(np.sum(along_v * (ndtr((rows.high_mm - u) / sd_mm) - ndtr((rows.low_mm - u) / sd_mm))))


def dose_gy(plan, density, points_mm, share_of_lung):
    """Dose of a plan at points (n, 3)."""
    delivery, found = plan.delivery, np.zeros(len(points_mm))
    model, opened = delivery.model, delivery.apertures
    shares = model.shares(share_of_lung)
    controls = delivery.treatment.control
    for beam, control in zip(delivery.treatment.beams, controls, strict=True):
        rows, weight = opened.rows[control], opened.weight[control] / controls.count(control)
        for i, point in enumerate(points_mm):
            u, v, w = beam.axes @ (point - beam.source_mm)
            u, v = u * SAD_MM / w, v * SAD_MM / w
            field = sum(c * blurred_opening(rows, u, v, s) for c, s in zip(shares[i], model.spreads_mm, strict=True))
            if field > 1e-4:
                depth_mm = water_equivalent_mm(density, beam.source_mm, point)
                found[i] += weight * field * float(model.depth_dose(np.array(depth_mm))) * (SAD_MM / w) ** 2
    return found * delivery.scale


@pytest.mark.nightly
@pytest.mark.parametrize(
    "site", ["mediastinal", *(pytest.param(s, marks=pytest.mark.nightly) for s in ("abdominal", "pelvic"))]
)
def test_doses_at_200_points_are_those_of_a_direct_evaluation(site):
    study = load_study(f"configs/{site}_node.yaml")
    study = study.model_copy(update={"plan": study.plan.model_copy(update={"passes": 1})})
    problem = prepare(study)
    request = problem.requests[0]
    plan = make_plan(problem, request)
    rng = np.random.default_rng(5)
    dose = plan.dose.on_grid(plan.grid)
    near = np.argwhere(dose > 0.2 * dose.max())
    points = plan.grid.points_mm(rng.choice(near, 200, replace=False) + rng.uniform(-0.5, 0.5, (200, 3)))
    density = problem.case.density
    smooth = smoothed_density(density)
    index = ((points - np.array(density.grid.origin_mm)) / np.array(density.grid.spacing_mm)).T[::-1]
    local = map_coordinates(smooth, index, order=1)
    lung = np.interp(local, (0.15, 0.26, 0.4, 0.6, 1.0), (1.52, 1.0, 0.635, 0.344, 0.0))
    found = dose_gy(plan, density, points, lung)
    np.testing.assert_allclose(plan.dose.at(points), found, atol=0.005 * found.max())
