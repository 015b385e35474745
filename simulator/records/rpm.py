"""Breathing records of Varian RPM: text files `.vxp` with a header and comma-separated samples."""

import numpy as np

from simulator.ground.spec import CaseError
from simulator.records.breathing import MM, Samples
from simulator.records.breathing_cells import NUMBER, Cells

_LINES_OF_HEADER = 40


def is_rpm(lines: list[str]) -> bool:
    """Whether a file begins as such records do."""
    start = [line.strip().lower() for line in lines[:_LINES_OF_HEADER]]
    return any(line in ("[header]", "[data]") or line.startswith("data_layout") for line in start)


def rpm_samples(where: str, lines: list[str], unit: str | None) -> Samples:
    """Varian RPM, versions 1.5 and 1.6: amplitude times Scale_factor is in mm, timestamps are in ms, validflag 0 is valid.

    The checksum of the header is not looked at.
    """
    starts = [i for i, line in enumerate(lines) if line.strip().lower() == "[data]"]
    if not starts:
        raise CaseError(f"{where}: no [Data]; the file is cut short, copy it again")
    pairs = [line.partition("=") for line in lines[: starts[0]]]
    header = {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}
    names = [name.strip().lower() for name in header.get("data_layout", "").split(",")]
    if "amplitude" not in names:
        raise CaseError(f"{where}: Data_layout names no amplitude; export the record again")
    scale = (
        MM[unit]
        if unit
        else _of_header(where, header, "scale_factor", "the unit of its amplitude; add --unit cm or --unit mm")
    )
    rate = _of_header(where, header, "samples_per_second", None)
    at = {name: i for i, name in enumerate(names)}
    table = Cells(where, lines, starts[0] + 1, ",", names)
    if "timestamp" in at:
        time_s = table.numbers(at["timestamp"]) * 1e-3
    elif rate:
        time_s = np.arange(len(table.rows)) / rate
    else:
        raise CaseError(f"{where}: neither timestamps nor Samples_per_second; export the record again")
    notes = []
    total = _of_header(where, header, "total_study_time", None)
    if total and len(time_s) > 1 and abs(np.ptp(time_s) / total - 1) > 0.05:
        notes.append(f"the header says {total:.1f} s in all, the times {np.ptp(time_s):.1f} s")
    return Samples(
        line=table.line,
        time_s=time_s,
        value_mm=table.numbers(at["amplitude"]) * float(scale or 0),
        phase=table.numbers(at["phase"]) if "phase" in at else None,
        valid=table.numbers(at["validflag"]) == 0 if "validflag" in at else None,
        beam_on=table.numbers(at["ttlout"]) > 0 if "ttlout" in at else None,
        rate_hz=rate,
        patient=header.get("patient_id", ""),
        notes=tuple(notes),
    )


def _of_header(where: str, header: dict[str, str], key: str, needed_for: str | None) -> float | None:
    """A positive number of the header; None where it lacks one that is not needed."""
    text = header.get(key, "").replace(",", ".")
    value = float(text) if NUMBER.fullmatch(text) else 0.0
    if value > 0:
        return value
    if needed_for:
        raise CaseError(
            f"{where}: {key.capitalize()} in the header is {text[:20] or 'missing'!r}, and says {needed_for}"
        )
    return None
