"""Beams of a conformal plan: what each sees of the PTV, the aperture it opens and how that is blurred."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from simulator.plan.targets import TargetVolume

SAD_MM: Final = 1000.0
_ROW_MM: Final = 0.5
_END_MM: Final = 0.05
_DISC_RAD: Final = np.linspace(-np.pi / 2, np.pi / 2, 41)


@dataclass(frozen=True)
class Rows:
    """An aperture: rows between edge_mm (n + 1,) along v, open from low_mm to high_mm (n,) in u, isocentre plane."""

    edge_mm: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray


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

    def opened(self, margin_mm: float, axial_margin_mm: float) -> Rows:
        """The aperture: stretched along v by the axial margin, then opened (closed, when negative) by a disc."""
        tall = self._stretched(axial_margin_mm)
        bottom, top = tall.v_mm[0] - margin_mm, tall.v_mm[-1] + margin_mm
        edge = np.linspace(bottom, top, max(2, int(np.ceil((top - bottom) / _ROW_MM))) + 1)
        v = 0.5 * (edge[1:] + edge[:-1])[:, None]
        touching = np.clip(v + margin_mm * np.sin(_DISC_RAD), tall.v_mm[0], tall.v_mm[-1])
        reach = np.sign(margin_mm) * np.sqrt(np.maximum(margin_mm**2 - (touching - v) ** 2, 0))
        high = np.interp(touching, tall.v_mm, tall.high_mm) + reach
        low = np.interp(touching, tall.v_mm, tall.low_mm) - reach
        if margin_mm >= 0:
            return Rows(edge, low.min(axis=1), high.max(axis=1))
        low, high = low.max(axis=1), high.min(axis=1)
        return Rows(edge, np.minimum(low, 0.5 * (low + high)), np.maximum(high, 0.5 * (low + high)))

    def _stretched(self, length_mm: float) -> "Outline":
        """The silhouette drawn out by a length up and down v."""
        first, last = self.v_mm[0], self.v_mm[-1]
        v = np.linspace(first - length_mm, last + length_mm, int(np.ceil((last - first + 2 * length_mm) / _ROW_MM)) + 1)
        touching = np.clip(v[:, None] + length_mm * np.sin(_DISC_RAD), first, last)
        low, high = np.interp(touching, self.v_mm, self.low_mm), np.interp(touching, self.v_mm, self.high_mm)
        return Outline(v, low.min(axis=1), high.max(axis=1))


@dataclass(frozen=True)
class BlurredField:
    """Two blurred apertures (2, v, u) in the isocentre plane, first pixel centre (v, u) and pixel size in mm."""

    maps: np.ndarray
    origin_mm: np.ndarray
    step_mm: float

    def scaled(self, weight: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Arrays for the kernels, the maps times a weight."""
        return (self.maps * weight).astype(np.float32), self.origin_mm, self.step_mm


@dataclass(frozen=True)
class Beam:
    """A static beam: source (3,) in mm, unit vectors u, v, w (3, 3) as rows, weight, and the PTV as it sees it."""

    source_mm: np.ndarray
    axes: np.ndarray
    weight: float
    outline: Outline

    @property
    def geometry(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Arrays for the kernels."""
        return self.source_mm, self.axes, SAD_MM


def make_beam(ptv: TargetVolume, gantry_deg: float, couch_deg: float, weight: float) -> Beam:
    """A beam aimed at the PTV's centroid.

    The source is at (sin g cos c, -cos g, -sin g sin c) from the isocentre (gantry g, couch c) and v runs along the
    gantry's rotation axis (sin c, 0, cos c), in patient coordinates.
    """
    g, c = np.deg2rad([gantry_deg, couch_deg])
    outward = np.array([np.sin(g) * np.cos(c), -np.cos(g), -np.sin(g) * np.sin(c)])
    axial = np.array([np.sin(c), 0.0, np.cos(c)])
    axes = np.array([np.cross(axial, -outward), axial, -outward])
    source = ptv.centroid_mm + SAD_MM * outward
    u, v, w = axes @ (ptv.surface_mm - source).T
    return Beam(source, axes, weight, _silhouette(u * SAD_MM / w, v * SAD_MM / w))


def _silhouette(u_mm: np.ndarray, v_mm: np.ndarray) -> Outline:
    """Outermost surface points (n,) in every row of v, joined by straight lines."""
    order = np.argsort(v_mm)
    u, v = u_mm[order], v_mm[order]
    rows = np.linspace(v[0], v[-1], max(3, int(np.ceil((v[-1] - v[0]) / _ROW_MM))) + 1)
    ends = v[0] + _END_MM, v[-1] - _END_MM
    starts = np.unique(np.searchsorted(v, [v[0], ends[0], *rows[1:-1], ends[1]]))
    parts = np.split(np.arange(len(v)), starts[1:])
    low = [part[u[part].argmin()] for part in parts]
    high = [part[u[part].argmax()] for part in parts]
    return Outline(rows, np.interp(rows, v[low], u[low]), np.interp(rows, v[high], u[high]))


def blurred(rows: Rows, sds_mm: tuple[float, float], factor: float, pixel_mm: float, border_mm: float) -> BlurredField:
    """Aperture convolved with two Gaussians, out to a border: exact in both directions, rows being boxes."""
    first = np.array([rows.edge_mm[0], rows.low_mm.min()]) - border_mm
    last = np.array([rows.edge_mm[-1], rows.high_mm.max()]) + border_mm
    nv, nu = (int(n) for n in np.ceil((last - first) / pixel_mm) + 2)
    v, u = first[0] + pixel_mm * np.arange(nv), first[1] + pixel_mm * np.arange(nu)
    maps = []
    for sd in dict.fromkeys(sds_mm):
        across = np.diff(ndtr((rows.edge_mm - v[:, None]) / sd), axis=1)
        along = ndtr((rows.high_mm[:, None] - u) / sd) - ndtr((rows.low_mm[:, None] - u) / sd)
        maps.append(factor * across @ along)
    return BlurredField(np.stack([maps[0], maps[-1]]), first, pixel_mm)
