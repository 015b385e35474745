"""The one page of house conventions: axes, signs, units, dimension names and random-stream numbers.

Axes
    Vectors are (x, y, z) = (LR, AP, SI) in mm, DICOM patient coordinates (LPS):
    +x to the patient's left, +y posterior, +z superior.
    Voxel arrays are indexed (z, y, x), C order. `simulator.case.geometry.Grid` alone changes the order.
Sign
    displacement = anatomy at delivery minus anatomy at planning: tissue planned at r receives the
    planned dose at r + displacement.
Doses
    A planned dose is the total of the course in Gy; fractions and instants share it by weights that sum to 1.
Numbers
    Probabilities are 0-1 in code and data; percent only in text and in names that end in `_percent`.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import numpy as np

_ROUNDING = 1e-9

AXES: Final = ("LR", "AP", "SI")
LEFT_MM: Final = (1.0, 0.0, 0.0)
POSTERIOR_MM: Final = (0.0, 1.0, 0.0)
SUPERIOR_MM: Final = (0.0, 0.0, 1.0)

CC_PER_MM3: Final = 1e-3


class Stream(IntEnum):
    """Number of each source's random stream. Never renumber: a study's numbers depend on it."""

    SETUP_SYSTEMATIC = 1
    SETUP_RANDOM = 2
    RESPIRATION_COURSE = 3
    RESPIRATION_FRACTION = 4
    RESPIRATION_PHASE = 5
    GUIDANCE = 6
    ROTATION_SYSTEMATIC = 7
    ROTATION_RANDOM = 8
    DRIFT_RATE = 9
    DRIFT_WALK = 10
    BASELINE_COURSE = 11
    BASELINE_FRACTION = 12
    BASELINE_AFTER_IMAGING = 13
    ORGAN_COURSE = 14
    ORGAN_FRACTION = 15
    ORGAN_PERISTALSIS = 16
    FILLING_COURSE = 17
    FILLING_FRACTION = 18
    REGISTRATION = 19
    ISOCENTRE = 20
    DELINEATION = 21
    RESPIRATION_BREATH = 22
    RESPIRATION_PERIOD = 23
    GUIDANCE_AGAIN = 24
    COUCH = 25
    COUCH_AGAIN = 26
    GUIDANCE_ROTATION = 27
    MOTION_COURSE = 28
    MOTION_FRACTION = 29
    MOTION_INSTANT = 30
    BASELINE_AFTER_IMAGING_COURSE = 31
    TCP_ALPHA = 40
    TCP_ALPHA_BETA = 41
    NTCP_TD50 = 42
    NTCP_M = 43
    NTCP_ALPHA_BETA = 44
    SETUP_SCALE = 50
    SETUP_KNOWN = 51
    BASELINE_SCALE = 52
    BASELINE_KNOWN = 53
    AFTER_IMAGING_SCALE = 54
    AFTER_IMAGING_KNOWN = 55
    REGISTRATION_KNOWN = 56
    ISOCENTRE_KNOWN = 57
    RESPIRATION_KNOWN = 58
    DRIFT_SIZE = 59
    DRIFT_KNOWN = 60
    DELINEATION_SIZE = 61
    DELINEATION_KNOWN = 62
    ORGAN_SIZE = 63
    ORGAN_KNOWN = 64
    ISOCENTRE_ROTATION = 65


Streams = Mapping[str, tuple[Stream, ...]]
"""Random streams by the name of what they are for, as the uncertainty budget says it."""


def percent(probability: float) -> str:
    """Probability in percent as it is printed, one decimal; only 0 and 1 themselves are 0 and 100."""
    if not np.isfinite(probability):
        return "–"
    for certain in (0, 1):
        if abs(probability - certain) < _ROUNDING:
            return str(100 * certain)
    if probability < 0.001:
        return "<0.1"
    return ">99.9" if probability > 0.999 else f"{100 * probability:.1f}"


def in_axes(values: Sequence[float]) -> str:
    """A value per axis as it stands in a sentence."""
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


def log_variance(cv: float) -> float:
    """Variance of the logarithm of log-normal factors with the given coefficient of variation."""
    return np.log1p(cv**2)


def log_normal(standard_normal: np.ndarray, cv: float) -> np.ndarray:
    """Log-normal factors with mean 1 and the given coefficient of variation."""
    variance = log_variance(cv)
    return np.exp(np.sqrt(variance) * standard_normal - variance / 2)
