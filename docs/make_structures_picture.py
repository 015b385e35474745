"""Draw docs/images/structures.png: contours as `simulator export --ptv` writes them, read back, on three slices.

Of a phantom by default; with arguments, of a structure set on its CT: FILE FOLDER [PICTURE].
"""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pydicom

import simulator

DOCS = Path(__file__).parent
STRATEGY, RADIUS_MM = "itv, 5 mm, none", 34.0
STUDY = {
    "plan": {"model": "conformal-arc"},
    "strategies": {"margins_mm": [5], "motion": ["itv"], "guidance": ["none"]},
    "uncertainty": {
        "setup": {"systematic_mm": [1, 2, 3], "random_mm": [2, 2, 2], "correlation": [0, 0, 0.6], "mean_mm": [0, 1, 2]},
        "respiration": {"amplitude_mm": [2, 2, 6]},
    },
}
SHOWN_PERCENT = (25, 50, 75)


def draw(structures: Path, picture: Path, images: Path | None = None) -> None:
    """Three transverse slices through the PTV, with every structure."""
    data = pydicom.dcmread(structures)
    names = {roi.ROINumber: roi.ROIName for roi in data.StructureSetROISequence}
    drawn = {
        names[roi.ReferencedROINumber]: (np.array(roi.ROIDisplayColor, float) / 255, _contours(roi))
        for roi in data.ROIContourSequence
    }
    heights = np.unique([points[0, 2] for points in drawn["PTV"][1]])
    centre = np.concatenate(drawn["PTV"][1]).mean(axis=0)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharey=True, layout="constrained")
    for ax, z in zip(axes, np.percentile(heights, SHOWN_PERCENT, method="nearest"), strict=True):
        if images is not None:
            _image(ax, images, z)
        for name, (colour, contours) in drawn.items():
            here = [points for points in contours if points[0, 2] == z]
            for i, points in enumerate(here):
                x, y = np.concatenate([points, points[:1]]).T[:2]
                ax.plot(x, y, color=colour, linewidth=1.2, label=name if i == 0 else None)
        ax.set(xlim=(centre[0] - RADIUS_MM, centre[0] + RADIUS_MM), ylim=(centre[1] + RADIUS_MM, centre[1] - RADIUS_MM))
        ax.set(title=f"z = {z:g} mm", xlabel="x (mm), to the left", aspect="equal")
    axes[0].set_ylabel("y (mm), to the back")
    axes[1].legend(fontsize=7, loc="upper right")
    figure.savefig(picture, dpi=80)


def _contours(roi: pydicom.Dataset) -> list[np.ndarray]:
    return [np.array(c.ContourData, float).reshape(-1, 3) for c in roi.ContourSequence]


def _image(ax: plt.Axes, images: Path, z_mm: float) -> None:
    """The CT slice at a height, in a soft-tissue window."""
    for path in images.iterdir():
        data = pydicom.dcmread(path)
        if data.Modality == "CT" and abs(data.ImagePositionPatient[2] - z_mm) < 0.01:
            hu = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
            (x, y, _), (dy, dx) = data.ImagePositionPatient, data.PixelSpacing
            ny, nx = hu.shape
            extent = (x - dx / 2, x + dx * (nx - 0.5), y + dy * (ny - 0.5), y - dy / 2)
            ax.imshow(hu, cmap="gray", vmin=-160, vmax=240, extent=extent)


def main() -> None:
    """Run a small study, export it and draw it."""
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]), Path(sys.argv[3] if len(sys.argv) > 3 else "structures.png"), Path(sys.argv[2]))
        return
    study = simulator.load_study(DOCS.parent / "configs" / "mediastinal_node.yaml", STUDY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ptv.dcm"
        found = simulator.export_rtstruct(simulator.run(study, courses=500), STRATEGY, path)
        for volume in found.volumes:
            print(volume)
        print(*found.notes, sep="\n")
        draw(path, DOCS / "images" / "structures.png")


if __name__ == "__main__":
    main()
