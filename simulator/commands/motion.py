"""Breathing for a study, from a 4DCT or from breathing records."""

from collections.abc import Sequence
from pathlib import Path

from simulator.commands.breathing import BreathingFound, breathing_found, write_breathing
from simulator.commands.phases import MotionFound, motion_found, write_motion
from simulator.ground.spec import ConfigError


def describe_motion(
    paths: Sequence[Path],
    *,
    target: str | None = None,
    organs: Sequence[str] = (),
    inhale_percent: float | None = None,
    inhale: str | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
) -> MotionFound | BreathingFound:
    """What the structure sets of a 4DCT, or breathing records, say; see `motion_found` and `breathing_found`.

    Raises
    ------
    ConfigError, CaseError : what cannot be used, or a setting that is about the other kind.
    """
    of_phases = {"target": target, "organ": organs or None, "inhale-percent": inhale_percent}
    of_records = {"inhale": inhale, "unit": unit, "time-unit": time_unit}
    is_4dct = any(path.is_dir() for path in paths)
    if is_4dct and len(paths) > 1:
        raise ConfigError(
            "a folder beside other paths: give one 4DCT (a folder), or breathing records (files); the blocks of both go "
            "into one study"
        )
    for name, value in (of_records if is_4dct else of_phases).items():
        if value is not None:
            other = "breathing records, and a folder (a 4DCT)" if is_4dct else "a 4DCT, and records"
            raise ConfigError(f"--{name}: is about {other} {'is' if is_4dct else 'are'} given; leave it out")
    if is_4dct:
        return motion_found(paths[0], target=target, organs=organs, inhale_percent=inhale_percent or 0.0)
    return breathing_found(paths, inhale=inhale, unit=unit, time_unit=time_unit)


def write_found(found: MotionFound | BreathingFound, folder: Path) -> None:
    """Write motion.yaml, motion.csv and motion.svg.

    Raises
    ------
    ConfigError : the folder holds files of others.
    """
    if isinstance(found, MotionFound):
        write_motion(found, folder)
    else:
        write_breathing(found, folder)
