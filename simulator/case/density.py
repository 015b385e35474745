"""Mass density from CT numbers."""

import numpy as np

AIR_DENSITY = 0.00121
_HU = (-1000, -98, -97, 14, 23, 100, 101, 1600, 3000)
_DENSITY = (AIR_DENSITY, 0.93, 0.930486, 1.03, 1.031, 1.1199, 1.0762, 1.9642, 2.8)


def density_of_hu(hu: np.ndarray) -> np.ndarray:
    """Mass density relative to water (1 g/cm3) of CT numbers in HU, float32.

    Piecewise linear through the nodes that the GATE toolkit distributes for Schneider, Bortfeld & Schlegel 2000
    (Phys Med Biol 45:459); constant beyond -1000 and 3000 HU. CT numbers are rounded to whole HU. The curve describes
    human tissue, so 0 HU is 1.017, not water. It is a generic curve, not a calibration of the scanner at hand.
    """
    table = np.interp(np.arange(_HU[0], _HU[-1] + 1), _HU, _DENSITY).astype(np.float32)
    return table[np.clip(np.rint(hu), _HU[0], _HU[-1]).astype(np.int16) - _HU[0]]
