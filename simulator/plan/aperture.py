"""Beams of a conformal plan: what each sees of the PTV, the aperture it opens and how that is blurred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.special import ndtr

from simulator.kernels.beams import blur_rows, outermost

SAD_MM: Final = 1000.0
_ROW_MM: Final = 0.5
_END_MM: Final = 0.05
_DISC_RAD: Final = np.linspace(-np.pi / 2, np.pi / 2, 41)
_EDGE_STEPS_PER_SD: Final = 500
_EDGE: Final = ndtr(np.arange(-8 * _EDGE_STEPS_PER_SD, 8 * _EDGE_STEPS_PER_SD + 1) / _EDGE_STEPS_PER_SD)


class Surface(Protocol):
    """What a beam sees of a volume, or of several."""

    @property
    def surface_mm(self) -> np.ndarray:
        """Points (n, 3)."""
        ...

    @property
    def centroid_mm(self) -> np.ndarray:
        """Centre (3,) that beams aim at."""
        ...


@dataclass(frozen=True)
class Rows:
    """An aperture: rows between edge_mm (n + 1,) along v, open from low_mm to high_mm (n,) in u, isocentre plane."""

    edge_mm: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray


def opened_together(several: Sequence[Rows]) -> Rows:
    """One aperture of some: a leaf pair that several of them meet is open from the first of their ends to the last, over what
    lies between; those that meet none are closed."""
    edge = np.unique(np.concatenate([rows.edge_mm for rows in several]))
    v = 0.5 * (edge[1:] + edge[:-1])
    low, high = np.full(len(v), np.inf), np.full(len(v), -np.inf)
    for rows in several:
        row = np.clip(np.searchsorted(rows.edge_mm, v) - 1, 0, len(rows.low_mm) - 1)
        met = (v > rows.edge_mm[0]) & (v < rows.edge_mm[-1]) & (rows.high_mm[row] > rows.low_mm[row])
        low[met] = np.minimum(low, rows.low_mm[row])[met]
        high[met] = np.maximum(high, rows.high_mm[row])[met]
    closed = low > high
    low[closed] = high[closed] = 0.5 * (low[~closed].min() + high[~closed].max())
    return Rows(edge, low, high)


@dataclass(frozen=True)
class Outline:
    """Silhouette in the isocentre plane: at v_mm (n,), ascending, it reaches from low_mm to high_mm (n,) in u."""

    v_mm: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray

    @property
    def half_width_mm(self) -> float:
        """Half of the smaller of its extents."""
        return 0.5 * float(min(np.ptp(self.v_mm), (self.high_mm - self.low_mm).max()))

    def opened(self, margin_mm: float) -> Rows:
        """The aperture: opened (closed, when negative) by a disc."""
        bottom, top = self.v_mm[0] - margin_mm, self.v_mm[-1] + margin_mm
        edge = np.linspace(bottom, top, max(2, int(np.ceil((top - bottom) / _ROW_MM))) + 1)
        v = 0.5 * (edge[1:] + edge[:-1])[:, None]
        touching = np.clip(v + margin_mm * np.sin(_DISC_RAD), self.v_mm[0], self.v_mm[-1])
        reach = np.sign(margin_mm) * np.sqrt(np.maximum(margin_mm**2 - (touching - v) ** 2, 0))
        high = np.interp(touching, self.v_mm, self.high_mm) + reach
        low = np.interp(touching, self.v_mm, self.low_mm) - reach
        if margin_mm >= 0:
            return Rows(edge, low.min(axis=1), high.max(axis=1))
        low, high = low.max(axis=1), high.min(axis=1)
        return Rows(edge, np.minimum(low, 0.5 * (low + high)), np.maximum(high, 0.5 * (low + high)))

    def stretched(self, length_mm: float) -> "Outline":
        """The silhouette scaled along v, so that either end moves out by a length and its middle stays."""
        middle, half = 0.5 * (self.v_mm[0] + self.v_mm[-1]), 0.5 * np.ptp(self.v_mm)
        return Outline(middle + (self.v_mm - middle) * (1 + length_mm / half), self.low_mm, self.high_mm)


@dataclass(frozen=True)
class BlurredField:
    """Blurred apertures float32 (v, u, map) on whole pixels of the isocentre plane; `first` is the first pixel (v, u)."""

    maps: np.ndarray
    first: np.ndarray
    step_mm: float

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Arrays for the kernels, with the field as the only plan."""
        return self.maps[..., None], self.first * self.step_mm, self.step_mm


def side_by_side(fields: Sequence[BlurredField]) -> tuple[np.ndarray, np.ndarray, float]:
    """Arrays for the kernels of the same beam's fields in several plans: maps (v, u, map, plan) over all of their pixels."""
    first = np.min([f.first for f in fields], axis=0)
    size = np.max([f.first + f.maps.shape[:2] for f in fields], axis=0) - first
    maps = np.zeros((*size, fields[0].maps.shape[2], len(fields)), np.float32)
    for i, field in enumerate(fields):
        v, u = field.first - first
        maps[v : v + field.maps.shape[0], u : u + field.maps.shape[1], :, i] = field.maps
    return maps, first * fields[0].step_mm, fields[0].step_mm


@dataclass(frozen=True)
class Beam:
    """A static beam: source (3,) in mm, unit vectors u, v, w (3, 3) as rows, and weight."""

    source_mm: np.ndarray
    axes: np.ndarray
    weight: float

    @classmethod
    def at(cls, isocentre_mm: np.ndarray, gantry_deg: float, couch_deg: float, weight: float) -> "Beam":
        """A beam aimed at the isocentre.

        The source is at (sin g cos c, -cos g, -sin g sin c) from the isocentre (gantry g, couch c) and v runs along the
        gantry's rotation axis (sin c, 0, cos c), in patient coordinates.
        """
        g, c = np.deg2rad([gantry_deg, couch_deg])
        outward = np.array([np.sin(g) * np.cos(c), -np.cos(g), -np.sin(g) * np.sin(c)])
        axial = np.array([np.sin(c), 0.0, np.cos(c)])
        axes = np.array([np.cross(axial, -outward), axial, -outward])
        return cls(isocentre_mm + SAD_MM * outward, axes, weight)

    @property
    def geometry(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Arrays for the kernels."""
        return self.source_mm, self.axes, SAD_MM

    def outline(self, volume: Surface) -> Outline:
        """The silhouette of a volume: its outermost surface points in every row of v, joined by straight lines."""
        u, v, w = self.axes @ (volume.surface_mm - self.source_mm).T
        u, v = u * SAD_MM / w, v * SAD_MM / w
        first, last = v.min(), v.max()
        rows = np.linspace(first, last, max(3, int(np.ceil((last - first) / _ROW_MM))) + 1)
        start = np.sort([first, first + _END_MM, *rows[1:-1], last - _END_MM])
        low, high = np.empty((2, len(start), 2))
        outermost(u, v, start, low, high)
        met = ~np.isnan(low[:, 1])
        return Outline(rows, *(np.interp(rows, *part[met].T) for part in (low, high)))


def blurred(rows: Rows, sds_mm: np.ndarray, factors: np.ndarray, pixel_mm: float, border_mm: float) -> BlurredField:
    """Maps of an aperture convolved with Gaussians, out to a border of zeros; exact, as rows are boxes.

    Parameters
    ----------
    factors : (map, Gaussian), what each map takes of each Gaussian.
    """
    lower = np.array([rows.edge_mm[0], rows.low_mm.min()]) - border_mm
    upper = np.array([rows.edge_mm[-1], rows.high_mm.max()]) + border_mm
    first, last = np.floor(lower / pixel_mm).astype(int), np.ceil(upper / pixel_mm).astype(int)
    v, u = (pixel_mm * np.arange(a, b + 1) for a, b in zip(first, last, strict=True))
    each = np.empty((len(sds_mm), len(v), len(u)), np.float32)
    for sd, one in zip(sds_mm, each, strict=True):
        blur_rows(rows.edge_mm, rows.low_mm, rows.high_mm, v, u, _EDGE, _EDGE_STEPS_PER_SD / sd, one)
    maps = np.zeros((len(v) + 2, len(u) + 2, len(factors)), np.float32)
    for i, of_each in enumerate(np.asarray(factors, np.float32)):
        maps[1:-1, 1:-1, i] = sum(factor * one for factor, one in zip(of_each, each, strict=True))
    return BlurredField(maps, first - 1, pixel_mm)
