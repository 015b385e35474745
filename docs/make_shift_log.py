"""Write configs/shift_log.csv, an invented clinic's record as spreadsheets with decimal commas export it, and its picture."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np

from simulator.commands.errors import errors_found
from simulator.plots.records import record_of_shifts

SEED, N_PATIENTS = 20, 20
MEAN_MM = (0.0, 0.5, 1.5)  # LR, AP, SI in DICOM's signs
SYSTEMATIC_MM, RANDOM_MM, SHAPE = (1.5, 2.0, 2.5), (1.5, 1.5, 2.0), 4.0
FRACTIONS = (3, 5, 5, 5, 8)
HEADER = ("Patient ID", "Fx", "Date", "Lat (cm)", "Lng (cm)", "Vrt (cm)")
HERE = Path(__file__).parent
TABLE = HERE.parent / "configs" / "shift_log.csv"


def shift_log() -> str:
    """The table: IEC 61217 signs in cm, a missing image, a repeated one, a slip of the pen."""
    rng = np.random.default_rng(SEED)
    rows = []
    for patient in range(N_PATIENTS):
        own = MEAN_MM + rng.standard_normal(3) * SYSTEMATIC_MM
        scale = np.sqrt((SHAPE - 1) / rng.standard_gamma(SHAPE))
        first = date(2024, 1, 8) + timedelta(9 * patient)
        for fraction in range(1, int(rng.choice(FRACTIONS)) + 1):
            lr, ap, si = own + scale * rng.standard_normal(3) * RANDOM_MM
            rows.append((f"X{patient + 101}", fraction, first + timedelta(2 * fraction - 2), lr, si, -ap))
    name, fraction, day, *shift = rows[6]
    rows.insert(7, (name, fraction, day, *(0.2 * v for v in shift)))  # imaged again after the correction
    del rows[20]
    rows[40] = (*rows[40][:4], -rows[40][4] + 18, rows[40][5])
    lines = [";".join(HEADER)]
    for name, fraction, day, *shift in rows:
        lines.append(
            ";".join((name, str(fraction), f"{day:%d.%m.%Y}", *(f"{v / 10:.2f}".replace(".", ",") for v in shift)))
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(shift_log(), encoding="utf-8")
    found = errors_found(TABLE, "iec61217")
    figure = record_of_shifts(found.record, found.shifts.classical, found.shifts.posterior)
    figure.savefig(HERE / "images" / "errors.png", dpi=90)
