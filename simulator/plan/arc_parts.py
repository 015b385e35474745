"""The parts of arcs: what is delivered from each sector, and when.

A sector of at most 10 degrees opens one aperture. It lasts as long as its monitor units need at one dose rate for the whole
fraction, but no less than the gantry needs for its angle at 6 degrees a second, and the rate is what makes all of them
last as long as the beam is on. Where the gantry would need longer than that for all of them, it turns evenly. In a second
pass the gantry goes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq

GANTRY_DEG_PER_S: Final = 6.0
SECTOR_DEG: Final = 10.0


@dataclass(frozen=True)
class Sector:
    """Beams of one control point that follow each other in one pass of the arcs.

    Parameters
    ----------
    aperture : its number among those of all passes. beams : their numbers among the delivered ones.
    share : of the aperture's weight. weight : monitor units, relative. degrees : that the gantry turns meanwhile.
    """

    aperture: int
    beams: tuple[int, ...]
    share: float
    weight: float
    degrees: float


def sectors(
    control: Sequence[int], weight: Sequence[float], degrees: Sequence[float], widest_deg: float = SECTOR_DEG
) -> list[Sector]:
    """Sectors in the order of delivery.

    Parameters
    ----------
    control : of each delivered beam, the number of its control point, ascending.
    weight : of each aperture, pass after pass. degrees : (control point,), that the gantry turns for each.
    """
    n_controls, found = len(degrees), []
    for first in range(0, len(weight), n_controls):
        one_pass = []
        for c in range(n_controls):
            beams = [i for i, of in enumerate(control) if of == c]
            n = max(1, int(np.ceil(degrees[c] / widest_deg - 1e-9)))
            for some in (tuple(part.tolist()) for part in np.array_split(beams, min(n, len(beams)))):
                share = len(some) / len(beams)
                one_pass.append(Sector(first + c, some, share, share * weight[first + c], share * degrees[c]))
        found += one_pass if first // n_controls % 2 == 0 else one_pass[::-1]
    return found


def ends_of(some: Sequence[Sector], beam_on_s: float) -> np.ndarray:
    """When each sector ends, as a share (sector,) of the beam-on time of a fraction."""
    units = np.array([sector.weight for sector in some])
    units = units / units.sum()
    least_s = np.array([sector.degrees for sector in some]) / GANTRY_DEG_PER_S
    seconds = least_s
    if least_s.sum() < beam_on_s:

        def too_long(unit_s: float) -> float:
            return float(np.maximum(units * unit_s, least_s).sum() - beam_on_s)

        seconds = np.maximum(units * brentq(too_long, 0, 1.01 * beam_on_s), least_s)
    ends = np.cumsum(seconds) / seconds.sum()
    ends[-1] = 1.0
    return np.asarray(ends)
