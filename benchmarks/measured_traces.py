"""What measured breathing changes against the Lujan model: the abdominal study with each trace of a folder.

The folder holds kilovoltage-intrafraction-monitoring traces (t, x, y, z per line; see docs/explanation/studies.md).

Run it from the root of the repository:  python -m benchmarks.measured_traces FOLDER [--courses N]
"""

import argparse
from pathlib import Path

import xarray as xr

import simulator

CONFIG = Path(__file__).parents[1] / "configs" / "abdominal_strategies.yaml"
MOTIONS = ["mid-ventilation", "itv", {"kind": "gating", "window_percent": 30, "latency_s": 0.1}, "tracking"]


def results(trace: Path | None, courses: int) -> xr.DataTree:
    """The study with a trace, or with the Lujan model."""
    overrides = {
        "strategies.margins_mm": [5],
        "strategies.motion": MOTIONS,
        "strategies.guidance": [{"kind": "online-target", "couch": "6D"}],
    }
    if trace is not None:
        overrides["uncertainty.respiration.trace"] = str(trace.resolve())
    return simulator.run(simulator.load_study(CONFIG, overrides), courses=courses)


def main() -> None:
    """Print one table: mean GTV D98% in percent of the prescription, and the probability of 95 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--courses", type=int, default=400)
    arguments = parser.parse_args()
    names = [m if isinstance(m, str) else m["kind"] for m in MOTIONS]
    print("| breathing | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for trace in [None, *sorted(arguments.folder.glob("*.txt"))]:
        tree = results(trace, arguments.courses)
        rx = tree.attrs["prescription_gy"]
        d98 = tree["metrics/value"].sel(metric="GTV D98%").mean("course").values / rx
        met = tree["goals/probability"].sel(goal="GTV D98% >= 95%").values
        cells = " | ".join(f"{100 * d:.1f} %, {100 * p:.1f} %" for d, p in zip(d98, met, strict=True))
        print(f"| {trace.stem if trace else 'Lujan n = 2'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
