"""What Sobol' points gain: courses that independent draws need for the same error, on the three site studies.

The error of a Sobol' study is that of its 16 independent randomisations; that of independent draws follows from the
variance of a course.

Run it from the root of the repository:  python -m benchmarks.quasi_random [--courses N]
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

import simulator
from simulator.sampling.quasi import N_RANDOMISATIONS

CONFIGS = Path(__file__).parents[1] / "configs"
STRATEGIES = {
    "mediastinal": {"margin_mm": 5, "motion": "itv", "guidance": "online-target"},
    "abdominal": {"margin_mm": 5, "motion": "itv", "guidance": "online-target"},
    "pelvic": {"margin_mm": 5, "motion": "none", "guidance": "none"},
}
_LEAST_UNCERTAIN = 0.02


def gain(values: np.ndarray) -> float:
    """Independent courses per Sobol' course for an equal error of the mean of (course,) values."""
    runs = values.reshape(N_RANDOMISATIONS, -1).mean(axis=1)
    return float((values.var() / len(values)) / (runs.var(ddof=1) / N_RANDOMISATIONS))


def gains(site: str, courses: int) -> dict[str, list[float]]:
    """Gains for the mean of GTV D98%, for target goals and for organ goals that are neither sure nor hopeless."""
    overrides = {"strategies": [STRATEGIES[site]], "sampling": "sobol", "courses": courses}
    study = simulator.load_study(CONFIGS / f"{site}_node.yaml", overrides)
    results = simulator.run(study)
    values, goals = results["metrics/value"].isel(strategy=0), results["goals"].to_dataset().isel(strategy=0)
    found = {
        "mean D98%": [gain(values.sel(metric="GTV D98%").values.astype(float))],
        "target goals": [],
        "organ goals": [],
    }
    for i in range(goals.sizes["goal"]):
        if _LEAST_UNCERTAIN < goals["probability"].values[i] < 1 - _LEAST_UNCERTAIN:
            role = "target goals" if goals["role"].values[i] == "target" else "organ goals"
            found[role].append(gain(_met(goals.isel(goal=i), values, study.prescription.dose_gy)))
    return found


def _met(goal: xr.Dataset, values: xr.DataArray, prescription_gy: float) -> np.ndarray:
    metric = values.sel(metric=goal["metric"].item())
    in_percent = goal["unit"].item() == "%" and "D" in str(goal["metric"].item()).split()[1]
    shown = metric.values.astype(float) * (100 / prescription_gy if in_percent else 1.0)
    limit = float(goal["limit"])
    return (shown >= limit if str(goal["operator"].item()).startswith(">") else shown <= limit).astype(float)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, default=2048)
    courses = parser.parse_args().courses
    print("| site | quantity | number | gain: median (least to most) |\n|---|---|---|---|")
    for site in STRATEGIES:
        for quantity, found in gains(site, courses).items():
            if found:
                spread = f"{np.median(found):.1f} ({min(found):.1f} to {max(found):.1f})"
                print(f"| {site} | {quantity} | {len(found)} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
