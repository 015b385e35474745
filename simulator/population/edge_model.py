"""Required margins where the dose depends on the depth inside the PTV alone: what the published recipes idealise.

The planning target is a ball (a plane in the limit of a large one), the PTV adds a margin to it, and the planned dose is a
function of the depth below the PTV's surface. From a recipe's world to the simulated one, each simplification is lifted by
itself.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, ndtr, ndtri

from simulator.kernels.edges import DEPTH_STEP_MM, FIRST_DEPTH_MM, margins_needed
from simulator.population.required_margin import Chain

PLANE_MM = 1e4
_N_GAUSSIAN, _SEED = 2048, 5
_N_SURFACE, _N_VOLUME = 100, 200
_N_PLANE = 2000
_OUTER_SHARE = 0.5
_PLASTIC = 0.7548776662466927
_DEPTHS_MM = np.arange(FIRST_DEPTH_MM, 40.0, DEPTH_STEP_MM)


@dataclass(frozen=True)
class Edge:
    """Dose against depth inside the PTV, in units of the dose that is wanted; tabulated from -40 to 40 mm.

    Parameters
    ----------
    table : (polar, azimuth, depth), by direction from the target's centre as in `margins_needed`.
    beyond_mm : distance from the PTV's surface out to half the plateau's dose.
    sd_mm : of a Gaussian penumbra with the same half and wanted doses. wanted : as a share of the plateau's dose.
    """

    table: np.ndarray
    beyond_mm: float
    sd_mm: float
    wanted: float

    @classmethod
    def of_profile(cls, depth_mm: np.ndarray, dose: np.ndarray, wanted: float, plateau: float) -> "Edge":
        """From the dose (polar, azimuth, depth) at rising depths (depth,); made monotone."""
        rising = np.maximum.accumulate(dose, axis=-1)
        mean = rising.mean(axis=(0, 1))
        half_mm, wanted_mm = (_where(depth_mm, mean, level) for level in (0.5 * plateau, wanted))
        sd_mm = (wanted_mm - half_mm) / ndtri(wanted / plateau)
        table = np.array([[np.interp(_DEPTHS_MM, depth_mm, curve) for curve in row] for row in rising]) / wanted
        return cls(table, -half_mm, sd_mm, wanted / plateau)

    def gaussian(self) -> "Edge":
        """The Gaussian penumbra through the same half and wanted doses."""
        table = ndtr((_DEPTHS_MM + self.beyond_mm) / self.sd_mm) / self.wanted
        return Edge(table[None, None], self.beyond_mm, self.sd_mm, self.wanted)

    def formula_mm(self, systematic_mm: np.ndarray, random_mm: np.ndarray, coverage: float) -> np.ndarray:
        """van Herk's margin per axis for this Gaussian edge: α Σ + z sqrt(σ² + σp²) less what the plan grants already."""
        retracted_mm = ndtri(self.wanted) * np.hypot(random_mm, self.sd_mm) - self.beyond_mm
        return np.sqrt(chdtri(3, 1 - coverage)) * systematic_mm + retracted_mm


def _where(depth_mm: np.ndarray, rising: np.ndarray, level: float) -> float:
    i = min(max(int(np.searchsorted(rising, level)), 1), len(rising) - 1)
    share = (level - rising[i - 1]) / max(rising[i] - rising[i - 1], 1e-12)
    return float(depth_mm[i - 1] + share * (depth_mm[i] - depth_mm[i - 1]))


def blurred_plane_mm(
    edge: Edge, chain: Chain, systematic_mm: np.ndarray, random_mm: np.ndarray, coverage: float
) -> float:
    """Place along a chain that a large target needs in very many fractions: σ blurs the edge, Σ displaces it."""
    shift, _ = _gaussian(systematic_mm, np.zeros(3), 1)
    directions = _spread_evenly(_N_PLANE)
    random = np.sqrt(np.square(directions) @ np.square(random_mm))
    needed = ndtri(edge.wanted) * np.hypot(random, edge.sd_mm) - edge.beyond_mm + shift[:, 0] @ directions.T
    return float(np.quantile(chain.places(directions, needed).max(axis=1), coverage))


def gaussian_margin_mm(
    edge: Edge,
    chain: Chain,
    systematic_mm: np.ndarray,
    random_mm: np.ndarray,
    n_fractions: int,
    coverage: float,
    radius_mm: float,
    volume_percent: float,
) -> float:
    """Place along a chain that Gaussian errors need in a number of fractions."""
    shift, weight = _gaussian(systematic_mm, random_mm, n_fractions)
    origin = np.zeros((1, 3))
    return float(
        np.quantile(margins_of_shifts(edge, chain, shift, weight, origin, radius_mm, volume_percent), coverage)
    )


def margins_of_shifts(
    edge: Edge,
    chain: Chain,
    shift_mm: np.ndarray,
    weight: np.ndarray,
    path_mm: np.ndarray,
    radius_mm: float,
    volume_percent: float,
) -> np.ndarray:
    """Place along a chain (course,) from which `volume_percent` of the target get the wanted dose; 100: its minimum dose.

    Parameters
    ----------
    shift_mm : (course, k, 3), displacements of the target. weight : (course, k).
    path_mm : (position, 3), polyline of target centres that the planning target covers.
    """
    points, share = points_of_ball(radius_mm, volume_percent)
    needed = margins_needed(
        edge.table, np.ascontiguousarray(shift_mm), np.ascontiguousarray(weight), facing(shift_mm, weight, path_mm), points,
        np.ascontiguousarray(path_mm, float), radius_mm, chain.size_mm, chain.sides_mm,
    )  # fmt: skip
    return at_largest(needed, share, 1 - volume_percent / 100)


def points_of_ball(radius_mm: float, volume_percent: float, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) that decide whether a part of a ball gets a dose, denser towards +z, and their shares of the volume."""
    if volume_percent >= 100:
        n = n or _N_SURFACE
        return radius_mm * _surface(n), np.zeros(n)
    points, share = _volume(n or _N_VOLUME)
    return radius_mm * points, share


def facing(shift_mm: np.ndarray, weight: np.ndarray, path_mm: np.ndarray) -> np.ndarray:
    """Rotations (course, 3, 3) that turn +z to where each course lies off the path on average; arguments as above."""
    return _frames((shift_mm * weight[..., None]).sum(axis=1) - path_mm.mean(axis=0))


def at_largest(values: np.ndarray, volume: np.ndarray, part: float) -> np.ndarray:
    """The least of the largest values (course, point) that fill a part of the volume (point,); the largest for none of it."""
    if part <= 0:
        return values.max(axis=1)
    order = np.argsort(-values, axis=1)
    filled = np.cumsum(volume[order], axis=1) - volume[order] / 2
    ordered = np.take_along_axis(values, order, axis=1)
    return np.array([np.interp(part, f, v) for f, v in zip(filled, ordered, strict=True)])


def _gaussian(systematic_mm: np.ndarray, random_mm: np.ndarray, n_fractions: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (course, fraction, 3) from Sobol' points and equal weights.

    The first coordinates are size and direction of the mean of a course.
    """
    from scipy.stats import qmc  # a second to import, which other studies need not wait for

    uniform = np.clip(qmc.Sobol(3 * (1 + n_fractions), rng=_SEED).random(_N_GAUSSIAN), 1e-9, 1 - 1e-9)
    size, cosine, azimuth = np.sqrt(chdtri(3, 1 - uniform[:, 0])), 2 * uniform[:, 1] - 1, 2 * np.pi * uniform[:, 2]
    sine = np.sqrt(1 - cosine**2)
    mean = size[:, None] * np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    mean = (mean * np.sqrt(systematic_mm**2 + random_mm**2 / n_fractions))[:, None]
    normal = ndtri(uniform[:, 3:]).reshape(_N_GAUSSIAN, n_fractions, 3)
    around = random_mm * (normal - normal.mean(axis=1, keepdims=True))
    return mean + around, np.full((_N_GAUSSIAN, n_fractions), 1 / n_fractions)


def _spread_evenly(n: int) -> np.ndarray:
    """Directions (n, 3)."""
    cosine, azimuth = 1 - (2 * np.arange(n) + 1) / n, np.pi * (3 - np.sqrt(5)) * np.arange(n)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)


def _spiral(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (n, 3), denser towards +z, and the share of the sphere that each stands for."""
    q = (np.arange(n) + 0.5) / n
    cosine, azimuth = 1 - 2 * q**2, np.pi * (3 - np.sqrt(5)) * np.arange(n)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1), 2 * q / n


def _surface(n: int) -> np.ndarray:
    """Directions with the pole itself."""
    directions, _ = _spiral(n)
    directions[0] = (0.0, 0.0, 1.0)
    return directions


def _volume(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) of the outer half of the unit ball's volume, denser towards +z and the surface, and their shares."""
    directions, share = _spiral(n)
    deep = (0.5 + _PLASTIC * np.arange(n)) % 1
    radius = np.cbrt(1 - _OUTER_SHARE * deep**2)
    return radius[:, None] * directions, _OUTER_SHARE * share * 2 * deep


def _frames(direction: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) that turn +z into each direction (n, 3)."""
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    z = np.where(length > 1e-9, direction / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])
    helper = np.where(np.abs(z[:, :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.ascontiguousarray(np.stack([x, np.cross(z, x), z], axis=2))
