"""All that a clinic's record says: what is odd, and estimates as a table and as a block for a study."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.ground.conventions import AXES
from simulator.records.axes import SignConvention
from simulator.records.classical import Errors, Interval, classical_errors
from simulator.records.posterior import (
    FEWEST_EFFECTIVE,
    MOST_R_HAT,
    OTHER_SCALES,
    PRIOR_SCALE,
    Posterior,
    errors_of,
    posterior,
)
from simulator.records.record import ShiftRecord
from simulator.records.study_block import study_block

NAMES = {"mean": "M", "systematic": "Σ", "random": "σ (RMS)"}
UNITS = {"mm": "mm", "deg": "°"}
_COLUMNS = ("error", "axis", "classical (95 %)", "posterior (95 %)")

Row = tuple[str, ...]


@dataclass(frozen=True)
class Estimated:
    """Estimates of one kind.

    Parameters
    ----------
    unit : mm of shifts, deg of rotations.
    values : (image, 3) that they are of.
    patient : (image,) numbers.
    """

    unit: str
    values: np.ndarray
    patient: np.ndarray
    classical: Errors
    posterior: Posterior


@dataclass(frozen=True)
class ErrorsFound:
    """All that a record says."""

    convention: SignConvention
    record: ShiftRecord
    notes: list[str]
    measured: str
    seed: int
    shifts: Estimated
    turns: Estimated | None

    @property
    def kinds(self) -> list[Estimated]:
        """Shifts, and rotations where there are any."""
        return [kind for kind in (self.shifts, self.turns) if kind]

    @property
    def converged(self) -> bool:
        """Whether all chains have settled."""
        return all(kind.posterior.converged for kind in self.kinds)

    @property
    def self_test(self) -> tuple[str, str]:
        """Two lines to hold against one's own record."""
        return self.convention.self_test("table" if self.record.place == "line" else "registrations")

    @property
    def made_of(self) -> str:
        """Patients and images in words."""
        n = self.record.n_patients
        counts = np.bincount(self.record.patient)
        each = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        return f"{n} patients, {len(self.record.line)} images ({each} each)"

    @property
    def block(self) -> str:
        """The block for a study."""
        several = self.shifts.posterior.draws.mean.shape[2] > 1
        turns = self.turns.posterior.errors if self.turns else None
        note = "; of clinic 1, the first of the table" if several else ""
        return study_block(self.measured, self.shifts.posterior.errors, turns, self.made_of, note)


def estimated(unit: str, record: ShiftRecord, values: np.ndarray, seed: int) -> Estimated:
    """Classical and Bayesian estimates of shifts or rotations (image, 3) of a record."""
    return Estimated(
        unit,
        values,
        record.patient,
        classical_errors(values, record.patient),
        posterior(values, record.patient, record.clinic, seed),
    )


def rows_of(found: ErrorsFound) -> tuple[tuple[str, ...], list[Row]]:
    """The table: classical estimates beside the posterior and other priors, by error and axis."""
    columns = (*_COLUMNS, *(f"with prior scale {scale:g}" for scale in OTHER_SCALES))
    return columns, [row for kind in found.kinds for row in _rows_of(kind)]


def _rows_of(kind: Estimated) -> Iterator[Row]:
    draws = kind.posterior.draws
    n_clinics = draws.mean.shape[2]
    for name, title in NAMES.items():
        of_clinics = n_clinics if name == "mean" else 1
        for clinic in range(of_clinics):
            own = kind.posterior.errors if not clinic else errors_of(draws, clinic=clinic)
            others = kind.posterior.other_priors.values() if not clinic else ()
            label = f"{title}, clinic {clinic + 1}" if of_clinics > 1 else title
            label = f"{label}, {UNITS[kind.unit]}"
            for axis, letters in enumerate(AXES):
                first = _shown(getattr(kind.classical, name), axis) if of_clinics == 1 else "–"
                cells = (first, _shown(getattr(own, name), axis), *(_shown(getattr(o, name), axis) for o in others))
                yield label, letters, *cells, *([""] * (len(OTHER_SCALES) + 2 - len(cells)))


def _shown(interval: Interval, axis: int) -> str:
    value, low, high = (float(np.round(x[axis], 2)) + 0.0 for x in (interval.value, interval.low, interval.high))
    return "–" if np.isnan(value) else f"{value:.2f} ({low:.2f}, {high:.2f})"


def chains_in_words(found: ErrorsFound) -> str:
    """Whether the sampler can be trusted, and what the prior is."""
    kinds = [kind.posterior for kind in found.kinds]
    worst, fewest = max(k.r_hat for k in kinds), min(k.n_effective for k in kinds)
    text = (
        f"Posterior by 4 chains, seed {found.seed}: R-hat at most {worst:.3f}, {fewest:.0f} effective draws or more. "
        f"Prior: half-t of 2 degrees of freedom on each Σ and σ, scale {PRIOR_SCALE:g} (mm or degrees); "
        f"beside it, other scales."
    )
    if not found.converged:
        text += (
            f" The chains have not settled (R-hat below {MOST_R_HAT:g} and {FEWEST_EFFECTIVE} draws are wanted): "
            "do not use these intervals."
        )
    return text
