"""How many instants of a fraction are enough: the default against ten times as many, on the three site studies.

The same virtual patients are compared, so what draws a number for every instant (peristalsis, breath-to-breath amplitude, the
tracking error) is left out: with it, ten times as many instants are other patients.

Run it from the root of the repository:  python -m benchmarks.instants [--courses N]
"""

import argparse
from pathlib import Path

import numpy as np

import simulator
from simulator.study_file.schema import StudyConfig

CONFIGS = Path(__file__).parents[1] / "configs"
SITES = ("mediastinal", "abdominal", "pelvic")


def study_of(site: str, instants: int | None = None) -> StudyConfig:
    """A site study with a margin of 5 mm and a daily target match, without the draws of single instants."""
    study = simulator.load_study(
        CONFIGS / f"{site}_strategies.yaml",
        {"strategies.margins_mm": [5], "strategies.guidance": [{"kind": "online-target", "couch": "6D"}]},
    )
    raw = study.model_dump()
    raw["uncertainty"]["respiration"]["breath_cv"] = 0.0
    for organ in raw["uncertainty"]["organs"].values():
        organ["peristalsis_mm"] = (0, 0, 0)
    for motion in raw["strategies"]["motion"]:
        if motion["kind"] == "tracking":
            motion["error_mm"] = (0, 0, 0)
    if instants is not None:
        raw["numerics"]["instants"] = instants
    return StudyConfig.model_validate(raw)


def differences(site: str, courses: int) -> dict[str, list[float]]:
    """By motion management, in percent of the prescription: change of the mean and RMS change of a course, of GTV D98% and
    of the worst D0.035cc of an organ at risk."""
    few = study_of(site)
    many = study_of(site, 10 * few.numerics.instants)
    few_values, many_values = (simulator.run(s, courses=courses)["metrics/value"] for s in (few, many))
    found: dict[str, list[float]] = {}
    for strategy in few_values["strategy"].values:
        row: list[float] = []
        for wanted in ("GTV D98%", "D0.035cc"):
            metrics = [m for m in few_values["metric"].values if str(m).endswith(wanted)]
            change = (few_values - many_values).sel(strategy=strategy, metric=metrics).values.astype(float)
            percent = 100 * change / few.prescription.dose_gy
            row += [float(np.abs(percent.mean(axis=0)).max()), float(np.sqrt((percent**2).mean(axis=0)).max())]
        found[str(strategy).split(",")[0]] = row
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, default=100)
    parser.add_argument("--sites", nargs="*", default=list(SITES))
    arguments = parser.parse_args()
    print("| site | motion | GTV D98%: mean | RMS of a course | OAR D0.035cc: mean | RMS of a course |")
    print("|---|---|---|---|---|---|")
    for site in arguments.sites:
        for motion, row in differences(site, arguments.courses).items():
            cells = " | ".join(f"{value:.2f}" for value in row)
            print(f"| {site} | {motion} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
