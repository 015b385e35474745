"""Tables of shifts as clinics write them."""

import numpy as np

HEAD = ("patient", "fraction", "LR (mm)", "AP (mm)", "SI (mm)")


def shifts(seed=1, patients=6, fractions=3, systematic=2.0, random=2.0, mean=(0, 0, 0)):
    """Shifts (patient, fraction, 3) in mm."""
    rng = np.random.default_rng(seed)
    own = np.asarray(mean) + systematic * rng.standard_normal((patients, 1, 3))
    return own + random * rng.standard_normal((patients, fractions, 3))


def rows_of(values, code="pt-{}"):
    """Rows of a long table."""
    return [
        (code.format(p + 1), str(f + 1), *(f"{v:.2f}" for v in of_fraction))
        for p, of_patient in enumerate(values)
        for f, of_fraction in enumerate(of_patient)
    ]


def text(rows, head=HEAD, separator=","):
    """A table."""
    return "\n".join(separator.join(row) for row in (head, *rows)) + "\n"
