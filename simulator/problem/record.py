"""The measured breathing record of a study."""

from pathlib import Path

import numpy as np

from simulator.case.traces import Trace, breathing_signal, one_record, read_trace
from simulator.ground.spec import CaseError, ConfigError
from simulator.uncertainty.respiration import Respiration

_LEAST_RANGE_MM, _MOST_RANGE_MM = 0.1, 100.0
_MOST_OF_RANGE = 10.0


def breathing_record(respiration: Respiration | None) -> Trace | None:
    """The measured record of a study; None without."""
    if respiration is None or respiration.trace is None:
        return None
    key = "uncertainty.respiration.trace"
    if not Path(respiration.trace).is_file():
        raise ConfigError(f"{key}: no file {respiration.trace}; give the path of a record")
    try:
        trace = read_trace(respiration.trace)
    except CaseError as error:
        raise ConfigError(f"{key}: {error}") from None
    if trace is None:
        raise ConfigError(
            f"{key}: {respiration.trace} is no motion trace; a CSV with the columns time_s and displacement_mm is wanted, "
            "or an IEC text file"
        )
    record = one_record(trace)
    low, high = _range_mm(record)
    if high - low < _LEAST_RANGE_MM:
        raise ConfigError(f"{key}: {respiration.trace} moves by {high - low:.2g} mm only; give a record of breathing")
    if high - low > _MOST_RANGE_MM:
        raise ConfigError(
            f"{key}: {respiration.trace} moves by {high - low:.3g} mm, as no breathing does; correct its unit, "
            "or take its drift off"
        )
    if np.ptp(breathing_signal(record)) > _MOST_OF_RANGE * (high - low):
        raise ConfigError(f"{key}: {respiration.trace} has spikes far beyond its usual range; cut them off")
    if record.duration_s < respiration.period_s:
        raise ConfigError(
            f"{key}: {respiration.trace} lasts {record.duration_s:.3g} s, less than one breath (period_s) of "
            f"{respiration.period_s:g} s"
        )
    return record


def _range_mm(record: Trace) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the breathing signal in mm."""
    low, high = np.percentile(breathing_signal(record), (2.5, 97.5))
    return float(low), float(high)


def notes_on_record(record: Trace | None) -> list[str]:
    """What of a measured record is used, and what is not."""
    if record is None:
        return []
    low, high = _range_mm(record)
    unused = "its direction and rotations are" if "rotations" in record.note else "its direction is"
    projected = f", along its main direction; {unused} not used" if record.position_mm.shape[1] > 1 else ""
    return [
        f"the breathing record gives the shape alone{projected}: its {high - low:.1f} mm (2.5-97.5 %) become amplitude_mm "
        "along inhale_direction"
    ]
