"""The organs of a study that lie nearest to its targets."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import cKDTree

from simulator.case.cells import Patch
from simulator.case.structures import Structure, surface_points
from simulator.problem.target import Target


def nearest_organs(
    targets: Sequence[Target], structures: Sequence[Structure], patches: Mapping[str, Sequence[Patch]], n: int
) -> list[str]:
    """Names of at most n organs, the nearest first, by the distance of their cells from the targets' surfaces.

    An organ that holds the middle of a target, such as a lung or the whole body, is none of them: what decides its metrics
    is not how close it is.
    """
    surface = cKDTree(np.concatenate([surface_points(target.structure) for target in targets]))
    middles = np.array([target.structure.centroid_mm for target in targets])
    away_mm = {}
    for organ in structures:
        if organ.role != "target":
            points = np.concatenate([patch.points_mm for patch in patches[organ.name]])
            if cKDTree(points).query(middles)[0].min() > patches[organ.name][0].spacing_mm:
                away_mm[organ.name] = float(surface.query(points)[0].min())
    return sorted(away_mm, key=away_mm.__getitem__)[:n]
