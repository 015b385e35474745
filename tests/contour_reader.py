"""A reader of structure sets of its own, for what is written: pydicom, and polygons of matplotlib on a fine raster."""

import numpy as np
import pydicom
from matplotlib.path import Path as Outline


def read_polygons(path):
    """By ROI name, each height with its polygons (n, 2)."""
    data = pydicom.dcmread(path)
    names = {roi.ROINumber: roi.ROIName for roi in data.StructureSetROISequence}
    found = {}
    for drawn in data.ROIContourSequence:
        by_height = found.setdefault(names[drawn.ReferencedROINumber], {})
        for contour in drawn.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert np.ptp(points[:, 2]) == 0
            assert len(points) == contour.NumberOfContourPoints
            by_height.setdefault(float(points[0, 2]), []).append(points[:, :2])
    return found


def area_mm2(polygons, step_mm=0.2):
    """Area within any of the polygons, as a count of raster points."""
    every = np.concatenate(polygons)
    x, y = (np.arange(low, high + step_mm, step_mm) for low, high in zip(every.min(0), every.max(0), strict=True))
    raster = np.stack([a.ravel() for a in np.meshgrid(x + 0.013, y + 0.017)], axis=1)
    closed = [Outline(np.concatenate([polygon, polygon[:1]]), closed=True) for polygon in polygons]
    return np.any([outline.contains_points(raster) for outline in closed], axis=0).sum() * step_mm**2


def volume_cc(by_height, spacing_mm):
    """Volume of slabs of one thickness."""
    return sum(area_mm2(polygons) for polygons in by_height.values()) * spacing_mm / 1000
