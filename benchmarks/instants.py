"""How many instants of a fraction are enough: the default against ten times as many, on the three site studies.

Run it from the root of the repository:  python -m benchmarks.instants [--courses N]
"""

import argparse
from pathlib import Path

import numpy as np

import simulator

CONFIGS = Path(__file__).parents[1] / "configs"
SITES = ("mediastinal", "abdominal", "pelvic")


def differences(site: str, courses: int) -> dict[str, dict[str, tuple[float, float]]]:
    """By motion management: largest change in percent of the prescription of the mean and of the 5th and 95th percentile
    of GTV D98%, and of D0.035cc of any organ at risk."""
    study = simulator.load_study(
        CONFIGS / f"{site}_strategies.yaml",
        {"strategies.margins_mm": [5], "strategies.guidance": [{"kind": "online-target", "couch": "6D"}]},
    )
    more = study.model_copy(
        update={"numerics": study.numerics.model_copy(update={"instants": 10 * study.numerics.instants})}
    )
    few_values, many_values = (simulator.run(s, courses=courses)["metrics/value"] for s in (study, more))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for strategy in few_values["strategy"].values:
        row = {}
        for label, wanted in (("GTV D98%", "GTV D98%"), ("OAR D0.035cc", "D0.035cc")):
            metrics = [m for m in few_values["metric"].values if str(m).endswith(wanted)]
            change = []
            for values in (few_values, many_values):
                drawn = values.sel(strategy=strategy, metric=metrics).values.astype(float)
                change.append(np.vstack([drawn.mean(axis=0), np.percentile(drawn, (5, 95), axis=0)]))
            percent = 100 * np.abs(change[0] - change[1]) / study.prescription.dose_gy
            row[label] = (float(percent[0].max()), float(percent[1:].max()))
        found[str(strategy).split(",")[0]] = row
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, default=200)
    parser.add_argument("--sites", nargs="*", default=list(SITES))
    arguments = parser.parse_args()
    print("| site | motion | GTV D98%: mean | 5th, 95th | OAR D0.035cc: mean | 5th, 95th |")
    print("|---|---|---|---|---|---|")
    for site in arguments.sites:
        for motion, row in differences(site, arguments.courses).items():
            cells = " | ".join(f"{a:.2f} | {b:.2f}" for a, b in row.values())
            print(f"| {site} | {motion} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
