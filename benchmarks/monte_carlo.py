"""Monte Carlo of 6 MV pencil beams: the numbers to which the beam model is fitted and held.

    pip install "pyRadMC[warp]==0.2.1"        # for this script alone
    python -m benchmarks.monte_carlo          # twenty minutes on one core

A pencil beam of a Varian 6 MV spectrum (Ali & Rogers 2012, doi:10.1088/0031-9155/57/1/31) enters a cube of 300 mm of water,
900 mm from its point source; from 30 to 170 mm it is lung, water of another density. The dose in rings around the beam,
summed over a square field, is the field's (by reciprocity, without the tilt of its rays); convolving the field with a
Gaussian gives that of a source which is not a point. Writes simulator/commands/monte_carlo_6mv.csv and prints the fit that
simulator/plan/beam_model.py holds.
"""

import csv
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.signal import fftconvolve
from scipy.special import ndtr

TABLE = Path(__file__).parents[1] / "simulator" / "commands" / "monte_carlo_6mv.csv"
SAD_MM, SSD_MM, SOURCE_SD_MM = 1000.0, 900.0, 1.5
SLAB_MM = (30.0, 170.0)
HISTORIES = {1.0: 30_000_000, 0.26: 30_000_000, 0.15: 5_000_000, 0.4: 5_000_000, 0.6: 5_000_000}
FIELDS_MM = (10.0, 20.0, 30.0, 50.0, 100.0)
PIXEL_MM, HALF_MM = 0.5, 80.0
PIXELS_MM = np.arange(-HALF_MM, HALF_MM + PIXEL_MM / 2, PIXEL_MM)
MIDDLE = len(PIXELS_MM) // 2
DEPTHS_MM = np.concatenate([np.arange(0, 30, 1.0), np.arange(30, 250.1, 5)])
RINGS_MM = np.concatenate(
    [np.arange(0, 10, 0.25), np.arange(10, 20, 0.5), np.arange(20, 40, 1.0), np.arange(40, 150.1, 2.5)]
)


def pencil_beam(density: float, n_histories: int) -> np.ndarray:
    """Dose (depth, ring) per photon of a pencil beam through a slab of a density."""
    from pyradmc import AnalyticCrossSections, CylindricalScoringGrid, SpectralBeamSource, VoxelGrid, ali_rogers_mv
    from pyradmc.backends.warp.engine import WarpEngine

    def density_at(depth_mm: np.ndarray) -> np.ndarray:
        return np.where((depth_mm > SLAB_MM[0]) & (depth_mm < SLAB_MM[1]), density, 1.0)

    shape = (6, 6, 60)
    values = np.broadcast_to(density_at(5 * (np.arange(60) + 0.5)), shape).astype(np.float32)
    grid = VoxelGrid(shape=shape, spacing=(5.0, 5.0, 0.5), density=values, material=np.zeros(shape, np.int32))
    depth_cm, ring_cm = DEPTHS_MM / 10, RINGS_MM / 10
    local = density_at(0.5 * (DEPTHS_MM[1:] + DEPTHS_MM[:-1]))
    mass_g = (np.diff(depth_cm) * local)[:, None] * np.pi * np.diff(ring_cm**2)
    rings = CylindricalScoringGrid(axis=(15.0, 15.0), depth_edges=depth_cm, radial_edges=ring_cm, voxel_mass=mass_g)
    source = SpectralBeamSource(ali_rogers_mv("varian-6mv"), (15.0, 15.0, -90.0), (15.0, 15.0, 10.0), 0.0, 0.0)
    sections = AnalyticCrossSections(geometry_densities=grid.max_density_by_material())
    engine = WarpEngine(grid=grid, cross_sections=sections, device="cpu")
    run = engine.run(source, n_histories=n_histories, n_batches=10, seed=12, scoring_grid=rings)
    return np.asarray(run.dose).reshape(mass_g.shape)


def dose_in_a_ball(radius_mm: float, n_histories: int = 15_000_000) -> float:
    """Dose of a 30 mm field in the middle of a ball of water at the isocentre, 70 mm inside lung; radius 0 for lung alone."""
    from pyradmc import AnalyticCrossSections, SpectralBeamSource, VoxelGrid, ali_rogers_mv
    from pyradmc.backends.warp.engine import WarpEngine

    x, depth = 2.5 * (np.arange(60) - 29.5), 2.5 * (np.arange(120) + 0.5)
    density = np.ones((60, 60, 120), np.float32)
    density[:, :, (depth > SLAB_MM[0]) & (depth < SLAB_MM[1])] = 0.26
    density[x[:, None, None] ** 2 + x[:, None] ** 2 + (depth - 100) ** 2 < radius_mm**2] = 1.0
    grid = VoxelGrid(
        shape=density.shape, spacing=(0.25,) * 3, density=density, material=np.zeros(density.shape, np.int32)
    )
    source = SpectralBeamSource(ali_rogers_mv("varian-6mv"), (7.5, 7.5, -90.0), (7.5, 7.5, 10.0), 3.0, 3.0)
    sections = AnalyticCrossSections(geometry_densities=grid.max_density_by_material())
    engine = WarpEngine(grid=grid, cross_sections=sections, device="cpu")
    dose = np.asarray(engine.run(source, n_histories=n_histories, n_batches=10, seed=5).dose)
    return float(dose[29:31, 29:31, 38:42].mean())


class Fields:
    """Doses of square fields, given at the isocentre, per fluence there, from the pencil beam of one density."""

    def __init__(self, dose: np.ndarray) -> None:
        self.dose = dose

    def profile(self, field_mm: float, depth_mm: float, source_sd_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Distances from the axis in mm and the dose there, halfway between two edges."""
        w = (SSD_MM + depth_mm) / SAD_MM
        middle, thick = 0.5 * (DEPTHS_MM[1:] + DEPTHS_MM[:-1]), np.diff(DEPTHS_MM)
        near = np.abs(middle - depth_mm) <= (5 if depth_mm >= 30 else 1.01)
        ring = np.average(self.dose[near], axis=0, weights=thick[near])
        half, sd = field_mm * w / 2, max(source_sd_mm * w, 1e-3)
        open_ = ndtr((half - PIXELS_MM) / sd) - ndtr((-half - PIXELS_MM) / sd)
        kernel, parts = np.zeros((len(PIXELS_MM),) * 2), (np.arange(8) - 3.5) / 8 * PIXEL_MM
        for dx in parts:
            for dy in parts:
                radius = np.hypot(PIXELS_MM + dx, (PIXELS_MM + dy)[:, None])
                found = np.clip(np.searchsorted(RINGS_MM, radius, side="right") - 1, 0, len(ring) - 1)
                kernel += ring[found] * (radius < RINGS_MM[-1]) * (PIXEL_MM / 8) ** 2
        plane = fftconvolve(np.outer(open_, open_), kernel, mode="same")
        return PIXELS_MM[MIDDLE:], plane[MIDDLE, MIDDLE:] / w**2

    def on_axis(self, field_mm: float, depth_mm: float, source_sd_mm: float) -> float:
        return float(self.profile(field_mm, depth_mm, source_sd_mm)[1][0])

    def depth_dose(self, field_mm: float, depth_mm: float, source_sd_mm: float) -> float:
        """Percent of the dose at 100 mm."""
        return 100 * self.on_axis(field_mm, depth_mm, source_sd_mm) / self.on_axis(field_mm, 100, source_sd_mm)

    def penumbra_mm(self, field_mm: float, depth_mm: float, source_sd_mm: float) -> float:
        """Distance from 80 to 20 % of the dose on the axis."""
        x, dose = self.profile(field_mm, depth_mm, source_sd_mm)
        return float(np.diff(np.interp((-0.8, -0.2), -dose / dose[0], x))[0])

    def tail(self, field_mm: float, outside_mm: float, source_sd_mm: float) -> float:
        """Dose outside the field's geometric edge at 100 mm over that on the axis."""
        x, dose = self.profile(field_mm, 100, source_sd_mm)
        return float(np.interp(field_mm / 2 + outside_mm, x, dose) / dose[0])


def rows(water: Fields, lung: Fields) -> list[tuple[str, str, float, float, float, str, list[float]]]:
    """Quantity, medium, field, place in mm, tolerance, unit, and the value for a point source and for a real one."""

    def both(of: object, *place: float) -> list[float]:
        return [of(*place, sd) for sd in (0.0, SOURCE_SD_MM)]  # type: ignore[operator]

    made: list[tuple[str, str, float, float, float, str, list[float]]] = []
    for medium, fields, depths in (
        ("water", water, (12, 20, 50, 75, 125, 150, 180)),
        ("lung", lung, (50, 75, 125, 150)),
    ):
        for depth in depths:
            allowed = 0.03 if depth <= 20 else 0.02
            values = both(fields.depth_dose, 30, depth)
            made.append(("depth dose", medium, 30, depth, round(allowed * values[1], 2), "%", values))
        for depth in (50, 100, 150):
            values = both(fields.penumbra_mm, 30, depth)
            made.append(
                ("penumbra", medium, 30, depth, 0.3 if medium == "water" else round(0.2 * values[1], 2), "mm", values)
            )
        made.extend(("tail", medium, 30, outside, 0.01, "", both(fields.tail, 30, outside)) for outside in (10, 20))
    for field in (10, 30, 50):
        allowed = 0.06 if field == 10 else 0.03
        wide, here, there = (
            both(water.on_axis, 100, 100),
            both(water.on_axis, field, 100),
            both(lung.on_axis, field, 100),
        )
        for quantity, over, medium in (("output factor", wide, here), ("lung over water", here, there)):
            values = [a / b for a, b in zip(medium, over, strict=True)]
            made.append(
                (quantity, "water" if over is wide else "lung", field, 100, round(allowed * values[1], 3), "", values)
            )
    return made


def fit(fields: dict[float, Fields], per_mm: float) -> None:
    """Print four Gaussians for water and lung, and how far each density lies between the two."""
    x = np.arange(0, 45, 0.5)
    profile = {r: [np.interp(x, *f.profile(s, 100, SOURCE_SD_MM)) for s in FIELDS_MM] for r, f in fields.items()}
    dose = {r: np.concatenate(p) for r, p in profile.items()}
    weight = np.concatenate([np.where(x == 0, 8, 1.0) * (x < s / 2 + 30) for s in FIELDS_MM])

    def boxes(sds_mm: np.ndarray) -> np.ndarray:
        def one(field: float, sd: float) -> np.ndarray:
            return (ndtr((field / 2 - x) / sd) - ndtr((-field / 2 - x) / sd)) * (2 * ndtr(field / 2 / sd) - 1)

        return np.stack([np.concatenate([one(s, sd) for s in FIELDS_MM]) for sd in sds_mm], axis=1)

    def shares(sds_mm: np.ndarray, density: float) -> np.ndarray:
        return nnls(boxes(sds_mm) * weight[:, None], dose[density] * weight)[0]

    def misses(log_sds: np.ndarray) -> np.ndarray:
        sds = np.exp(log_sds)
        return np.concatenate([(boxes(sds) @ shares(sds, r) - dose[r]) * weight / dose[r].max() for r in (1.0, 0.26)])

    sds = np.exp(least_squares(misses, np.log([1.8, 4.0, 10.0, 34.0])).x)
    unit = shares(sds, 1.0).sum()
    open_ = {r: unit * np.exp(per_mm * (1 - r) * (100 - SLAB_MM[0])) for r in fields}
    water, lung = shares(sds, 1.0) / open_[1.0], shares(sds, 0.26) / open_[0.26]
    print("kernel mm", np.sqrt(sds**2 - SOURCE_SD_MM**2).round(3), "water", water.round(4), "lung", lung.round(4))
    for density, found in dose.items():
        toward, rest = boxes(sds) @ (lung - water), found / open_[density] - boxes(sds) @ water
        print(
            f"density {density:g}: share of lung {np.sum(weight**2 * toward * rest) / np.sum((weight * toward) ** 2):.3f}"
        )


def depth_fit(water: Fields) -> float:
    """Print the build-up and attenuation of a 30 mm field, inverse square taken off; returns the attenuation per mm."""
    depths = np.array([4, 5, 6, 8, 10, 12, 15, 20, 25, *range(30, 201, 10)], float)
    dose = np.array([water.on_axis(30, d, SOURCE_SD_MM) * ((SSD_MM + d) / SAD_MM) ** 2 for d in depths])

    def misses(p: np.ndarray) -> np.ndarray:
        return p[3] * (1 - p[0] * np.exp(-p[1] * depths)) * np.exp(-p[2] * depths) / dose - 1

    share, build_up, per_mm, _ = least_squares(misses, [0.8, 0.25, 0.005, dose.max()]).x
    print(f"build-up {share:.3f}, {build_up:.3f} / mm; attenuation {per_mm:.5f} / mm")
    return float(per_mm)


def main() -> None:
    """Run the pencil beams, write the table and print the fits."""
    fields = {density: Fields(pencil_beam(density, n)) for density, n in HISTORIES.items()}
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["quantity", "medium", "field_mm", "place_mm", "allowed", "unit", "point_source", "real_source"])
        for quantity, medium, field, place, allowed, unit, values in rows(fields[1.0], fields[0.26]):
            table.writerow(
                [quantity, medium, f"{field:g}", f"{place:g}", f"{allowed:g}", unit, *(f"{v:.4g}" for v in values)]
            )
    fit(fields, depth_fit(fields[1.0]))
    lung_alone = dose_in_a_ball(0.0)
    for radius in (7.5, 10.0):
        print(
            f"ball of water of {2 * radius:g} mm in lung: {dose_in_a_ball(radius) / lung_alone:.3f} of the dose of lung"
        )


if __name__ == "__main__":
    main()
