"""Breathing of a patient from the structure sets of his 4DCT: paths, a table, a figure, and a block for a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.case.dicom_phases import DrawnPhase, read_phases
from simulator.case.entries import Section, StructureEntry
from simulator.case.motion import StructurePath, paths_of
from simulator.ground.conventions import AXES
from simulator.ground.files import claim, write_table, write_whole
from simulator.ground.spec import CaseError, ConfigError
from simulator.plots.motion import paths_of_phases
from simulator.plots.style import LINES_PER_PANEL, svg_bytes
from simulator.study_file.checked_yaml import to_scalar
from simulator.study_file.starter import aliases_of, target_of

BLOCK, TABLE, FIGURE = "motion.yaml", "motion.csv", "motion.svg"
_COLUMNS = ("structure", "LR, mm", "AP, mm", "SI, mm", "hysteresis, mm", "volume, cc", "correlation LR, AP, SI")
_TURNED_MM, _DRAWN_APART = 1.0, 0.2
_FEW_PHASES = 4

Row = tuple[str, ...]


@dataclass(frozen=True)
class MotionFound:
    """What the phases of a 4DCT say, the target first.

    Parameters
    ----------
    percent : (phase,) of the cycle, from inhale on.
    """

    percent: np.ndarray
    paths: list[StructurePath]
    notes: list[str]

    @property
    def made_of(self) -> str:
        """Phases and target in words."""
        return f"{self.paths[0].name} and {len(self.paths) - 1} other structures in {len(self.percent)} phases"

    @property
    def tables(self) -> list[Section]:
        """What is printed."""
        return [(f"Breathing of {self.made_of}; amplitudes peak to peak", _COLUMNS, self.rows)]

    @property
    def rows(self) -> list[Row]:
        """Amplitudes peak to peak, hysteresis, volume and likeness to the target's motion."""
        target = self.paths[0]
        return [
            (
                path.name,
                *(f"{a:.1f}" for a in path.amplitude_mm),
                f"{path.hysteresis_mm:.1f}",
                f"{path.volume_cc.mean():.3g} (range {100 * path.volume_change:.0f} %)",
                "the target" if path is target else ", ".join(_shown(r) for r in path.correlation(target)),
            )
            for path in self.paths
        ]

    @property
    def block(self) -> str:
        """The block for a study."""
        lines = [
            f"# The patient's own breathing: centroids in {len(self.percent)} phases of his 4DCT, from inhale on, about their",
            "# mean, in mm to his left, posterior, superior (LR, AP, SI). A 4DCT shows one day. What it cannot show comes from",
            "# breathing records of his (simulator motion RECORD...): period_s, breath_cv, fraction_cv. course_cv is then how",
            "# far that day may be from his mean: fraction_cv after one 4DCT, never the spread between patients.",
            "subject: patient",
            "uncertainty:",
            "  respiration:",
            "    phases_mm:",
        ]
        still = [path.name for path in self.paths[1:] if path.is_still]
        for path in self.paths:
            if path.name in still:
                continue
            lines.append(f"      {to_scalar(path.name)}:")
            rows = np.round(path.path_mm, 2) + 0.0
            lines += [
                f"        - [{', '.join(f'{v:.2f}' for v in row)}]  # {percent:g} %"
                for percent, row in zip(self.percent, rows, strict=True)
            ]
        lines += [f"# Not above, as they keep still: {', '.join(still)}"] if still else []
        return "\n".join(lines) + "\n"


def motion_found(
    folder: Path, *, target: str | None = None, organs: Sequence[str] = (), inhale_percent: float = 0.0
) -> MotionFound:
    """Read the structure sets of a 4DCT's phases, and follow target and organs through them.

    Parameters
    ----------
    target : as the structure sets name it; the structure that is typed or named as one where absent.
    organs : structures to follow beside it; all that every phase draws where absent.
    inhale_percent : the phase of inhale, 0 by the convention of scanners.

    Raises
    ------
    ConfigError, CaseError : a setting that fits no phase, or a folder that cannot be used.
    """
    phases, notes = read_phases(str(folder))
    phases = _from_inhale(phases, inhale_percent)
    if target is None:
        target, why = _target(folder, phases[0])
        notes.append(f"the target is {target}: {why} (--target chooses)")
    names, left_out = _followed(phases, target, organs)
    short = {own: name for name, own in aliases_of(list(phases[0].rois)).items()}
    paths = [
        StructurePath(short.get(path.name, path.name), path.path_mm, path.volume_cc) for path in paths_of(phases, names)
    ]
    percent = np.array([phase.percent for phase in phases])
    return MotionFound(percent, paths, [*notes, *left_out, *_findings(paths, len(phases))])


def _from_inhale(phases: list[DrawnPhase], inhale_percent: float) -> list[DrawnPhase]:
    percents = [phase.percent for phase in phases]
    if inhale_percent % 100 not in percents:
        raise ConfigError(
            f"--inhale-percent: no phase of {inhale_percent:g} % here; there are {', '.join(f'{p:g}' for p in percents)}"
        )
    first = percents.index(inhale_percent % 100)
    return [*phases[first:], *phases[:first]]


def _target(folder: Path, phase: DrawnPhase) -> tuple[str, str]:
    entries = [
        StructureEntry(phase.file.name, name, roi.kind, 1.0 if roi.contours else None)
        for name, roi in phase.rois.items()
    ]
    target, why = target_of(entries)
    if target is None:
        raise ConfigError(f"{folder}: which structure is the target? add --target; there are {', '.join(phase.rois)}")
    return target, why


def _followed(phases: Sequence[DrawnPhase], target: str, organs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The target and the structures to follow, and what is left out."""
    every = list(dict.fromkeys(name for phase in phases for name in phase.rois))
    for name in (target, *organs):
        if name not in every:
            raise CaseError(f"structure {name!r} is in no phase; there are {', '.join(every)}")
    if organs:
        return list(dict.fromkeys((target, *organs))), []
    names, notes = [target], []
    for name in every:
        rois = [phase.rois.get(name) for phase in phases]
        lacking = [f"{p.percent:g}" for p, roi in zip(phases, rois, strict=True) if roi is None or not roi.contours]
        is_outline = any(roi is not None and roi.kind == "EXTERNAL" for roi in rois)
        if lacking and len(lacking) < len(phases) and name != target:
            notes.append(f"{name} is left out: not drawn in phase {', '.join(lacking)} %")
        elif not lacking and not is_outline and name != target:
            names.append(name)
    return names, notes


def _findings(paths: Sequence[StructurePath], n_phases: int) -> list[str]:
    """What is odd in the paths."""
    found = []
    toward = sum(float(path.path_mm[0, 2] - path.path_mm[n_phases // 2, 2]) for path in paths)
    if toward > _TURNED_MM:
        found.append(
            "in the first phase structures lie superior to where they are half a cycle later, as at exhale: if inhale is "
            "another phase, say --inhale-percent"
        )
    found += [
        f"{path.name}: its volume changes by {100 * path.volume_change:.0f} %: drawn over different lengths, or cut by the "
        "image? its centroid then moves without it"
        for path in paths
        if path.volume_change > _DRAWN_APART
    ]
    if n_phases < _FEW_PHASES:
        found.append(f"{n_phases} phases only: the way between them is taken as straight, and hysteresis is not seen")
    if len(paths) > LINES_PER_PANEL:
        found.append(f"the figure shows the first {LINES_PER_PANEL} structures; --organ chooses")
    return found


def write_motion(found: MotionFound, folder: Path) -> None:
    """Write the block for a study, paths and volumes by phase, and a figure.

    Raises
    ------
    ConfigError : the folder holds files of others.
    """
    claim(folder)
    write_whole(folder / BLOCK, found.block)
    columns = ("structure", "phase_percent", *(f"{axis}_mm" for axis in AXES), "volume_cc")
    rows = [
        (path.name, f"{percent:g}", *(f"{v + 0.0:.3f}" for v in np.round(place, 3)), f"{volume:.4g}")
        for path in found.paths
        for percent, place, volume in zip(found.percent, path.path_mm, path.volume_cc, strict=True)
    ]
    write_table(folder / TABLE, columns, rows)
    write_whole(folder / FIGURE, svg_bytes(paths_of_phases(found.paths, found.percent)))


def _shown(correlation: float) -> str:
    return "–" if np.isnan(correlation) else f"{correlation:.2f}"
