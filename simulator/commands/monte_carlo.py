"""The beam model in square fields on a water phantom, against the Monte Carlo table beside this page.

Source 1000 mm from the isocentre, which lies 100 mm deep; in "lung" the density is 0.26 from 30 to 170 mm of depth. The table
is of `benchmarks/monte_carlo.py`: for a point source, and blurred by the beam model's source and leaves, which is what the
model has to give.
"""

import csv
from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby

import numpy as np

from simulator.case.geometry import Grid, Volume
from simulator.plan.aperture import Beam, Rows
from simulator.plan.beam_model import Apertures, Treatment
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.dose import SplineDose

_SOURCE = (
    "pyRadMC 0.2.1 Monte Carlo, Varian 6 MV spectrum (Ali & Rogers 2012), SSD 900 mm, blurred by a source of 1.5 mm"
)
_MEASURED = "measured, 6 MV multileaf collimator: 3.7-3.9 mm (PMC5718650)"
_DEPTH_MM, _WIDE_MM = 100.0, 100.0
_LUNG_MM = (30.0, 170.0)


class StaticField:
    """A square field of the default beam model on a slab phantom."""

    def __init__(self, medium: str, field_mm: float) -> None:
        x, y = np.arange(-150.0, 151.0, 2.0), np.arange(-_DEPTH_MM, 201.0, 2.0)
        lung = (y + _DEPTH_MM > _LUNG_MM[0]) & (y + _DEPTH_MM < _LUNG_MM[1]) & (medium == "lung")
        density = np.broadcast_to(np.where(lung, 0.26, 1.0)[:, None], (len(x), len(y), len(x)))
        phantom = Volume(Grid((x[0], y[0], x[0]), (2.0, 2.0, 2.0), density.shape), density.astype(np.float32))
        self._half_mm, model = field_mm / 2, ConformalArc()
        reach = np.full(2, self._half_mm + 48.0)
        treatment = Treatment((Beam.at(np.zeros(3), 0.0, 0.0, 1.0),), ((-reach, reach),), (0,))
        edge = np.array([-self._half_mm, self._half_mm])
        rows = Rows(edge, edge[:1], edge[1:])
        grid = Grid.covering(np.array([-50.0, -_DEPTH_MM, -50.0]), np.array([50.0, 90.0, 50.0]), model.dose_grid_mm)
        (dose,) = model.deliver(
            model.medium(phantom, treatment, grid, map), treatment, [Apertures((rows,), (1.0,))], map
        )
        self._dose = SplineDose(Volume(grid, dose))

    def on_axis(self, depth_mm: float = _DEPTH_MM) -> float:
        """Dose on the axis per fluence at the isocentre."""
        return float(self._dose.at(np.array([[0.0, depth_mm - _DEPTH_MM, 0.0]]))[0])

    def profile(self, depth_mm: float, from_axis_mm: np.ndarray) -> np.ndarray:
        """Dose over that on the axis, at distances from the axis projected to the isocentre plane."""
        across = np.asarray(from_axis_mm, float) * (900.0 + depth_mm) / 1000.0
        points = np.stack([across, np.full_like(across, depth_mm - _DEPTH_MM), np.zeros_like(across)], axis=-1)
        return self._dose.at(points) / self.on_axis(depth_mm)

    def penumbra_mm(self, depth_mm: float) -> float:
        """Distance between 80 and 20 % of the dose on the axis, at the depth."""
        x = np.arange(0.0, self._half_mm + 25, 0.02)
        d80, d20 = np.interp((-0.8, -0.2), -self.profile(depth_mm, x), x)
        return float(d20 - d80) * (900.0 + depth_mm) / 1000.0

    def tail(self, outside_mm: float) -> float:
        """Dose outside the geometric edge over that on the axis."""
        return float(self.profile(_DEPTH_MM, np.array([self._half_mm + outside_mm]))[0])


def static_fields() -> Iterator[tuple[str, float, float, float, str, str]]:
    """Name, expected, found, allowed, unit and source of every row of the table."""
    with (files("simulator.commands") / "monte_carlo_6mv.csv").open(encoding="utf-8") as file:
        table = sorted(csv.DictReader(file), key=lambda row: float(row["field_mm"]))
    wide = StaticField("water", _WIDE_MM)
    for size, rows in groupby(table, key=lambda row: float(row["field_mm"])):
        water, lung = StaticField("water", size), StaticField("lung", size)
        for row in rows:
            at, seen = float(row["place_mm"]), lung if row["medium"] == "lung" else water
            match row["quantity"]:
                case "depth dose":
                    found, where = 100 * seen.on_axis(at) / seen.on_axis(), f"at {at:g} mm"
                case "penumbra":
                    found, where = seen.penumbra_mm(at), f"80-20 % at {at:g} mm"
                case "tail":
                    found, where = seen.tail(at), f"{at:g} mm outside the edge at 100 mm"
                case "output factor":
                    found, where = water.on_axis() / wide.on_axis(), "at 100 mm"
                case _:
                    found, where = lung.on_axis() / water.on_axis(), "at 100 mm"
            name = f"{row['quantity']} {where}, {row['medium']}, {size:g} mm field"
            yield name, float(row["real_source"]), found, float(row["allowed"]), row["unit"], _SOURCE
    yield "penumbra 80-20 % at 100 mm, water", 3.8, StaticField("water", 30.0).penumbra_mm(100.0), 0.3, "mm", _MEASURED
