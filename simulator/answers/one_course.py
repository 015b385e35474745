"""One course of a strategy as a dataset, beside what the results hold of it."""

import numpy as np
import xarray as xr

from simulator.ground.conventions import AXES
from simulator.problem.problem import Problem
from simulator.simulation.one_course import CourseDoses, CourseErrors


def course_dataset(
    results: xr.DataTree, problem: Problem, place: int, number: int, errors: CourseErrors, doses: CourseDoses
) -> xr.Dataset:
    """What is known of one course of a strategy, beside what the results hold of it and of the plan.

    Parameters
    ----------
    place, number : of the strategy and of the course in the results.

    Returns
    -------
    error_mm : (source, fraction, axis), displacement of the target relative to the beam less the planned one, by source, as a
        mean over the beam-on time; the sources sum to the whole.
    displacement_mm : (structure, fraction, axis), the whole, of every structure.
    volume_percent : (structure, fraction), of the planned volume, or of the drawn one of a target.
    rotation_deg : (correction, fraction, axis) of the patient, before and after correction; absent without rotations.
    value, stored, nominal, unit : (metric), of this course, of it in the results, of the planned dose.
    fraction_value : (fraction, metric), of the course if all of its fractions were like this one.
    dvh, nominal_dvh : (structure, dose_gy) in percent.
    dose : (z, y, x) in Gy to the tissue of each voxel.
    """
    metrics, dvh = results["metrics"].to_dataset(), results["dvh"].to_dataset()
    structures = [s.name for s in problem.structures]
    filled = [errors.volume_percent.get(name, np.full(len(doses.fraction_values), 100.0)) for name in structures]
    variables = {
        "error_mm": (("source", "fraction", "axis"), np.stack(list(errors.by_source_mm.values()))),
        "displacement_mm": (
            ("structure", "fraction", "axis"),
            np.stack([errors.displacement_mm[name] for name in structures]),
        ),
        "volume_percent": (("structure", "fraction"), np.stack(filled)),
        "value": (("metric",), doses.values),
        "stored": (("metric",), metrics["value"].isel(strategy=place, course=number).values),
        "nominal": (("metric",), metrics["nominal"].values[place]),
        "unit": (("metric",), metrics["unit"].values.astype(str)),
        "fraction_value": (("fraction", "metric"), doses.fraction_values),
        "dvh": (("structure", "dose_gy"), doses.dvh_percent),
        "nominal_dvh": (("structure", "dose_gy"), dvh["nominal"].values[place]),
        "dose": (("z", "y", "x"), doses.dose_gy),
    }
    coords = {
        "source": list(errors.by_source_mm),
        "fraction": np.arange(1, len(doses.fraction_values) + 1),
        "axis": list(AXES),
        "structure": structures,
        "metric": problem.metric_labels,
        "dose_gy": dvh["dose"].values,
        **dict(zip("xyz", problem.map_frame.grid.axes_mm, strict=True)),
    }
    if errors.rotation_deg is not None:
        variables["rotation_deg"] = (("correction", "fraction", "axis"), errors.rotation_deg)
        coords["correction"] = ["before", "after"]
    return xr.Dataset(variables, coords)
