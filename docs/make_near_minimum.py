"""Write the table of explanation/near_minimum.md: D98% and DC0.035cc of small spheres, `python docs/make_near_minimum.py`."""

import math
from pathlib import Path

import simulator

DIAMETERS_MM = (5, 6, 8, 10, 12, 15, 20)
COLD_MM3, MARGIN_MM, SD_MM, COURSES = 35.0, 4, 1.5, 10_000
GOALS = ("GTV D98% >= 100%", "GTV DC0.035cc >= 100%")
PAGE = Path(__file__).parent / "explanation" / "near_minimum.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def geometry(diameter_mm: float) -> tuple[float, float, float, float]:
    """Volume and its 2 % in mm³, and how deep below the surface of a sphere 2 % and 35 mm³ reach, in mm."""
    radius = diameter_mm / 2
    volume = 4 / 3 * math.pi * radius**3
    shells = (radius * (1 - (1 - cold / volume) ** (1 / 3)) for cold in (0.02 * volume, COLD_MM3))
    return volume, 0.02 * volume, *shells


def study(diameter_mm: float):  # type: ignore[no-untyped-def]
    """A sphere with Σ = σ = 1.5 mm, 4 mm margin and 5 fractions, prescribed to 80 %."""
    changes = {
        "case.radius_mm": diameter_mm / 2,
        "prescription.isodose_percent": 80,
        "plan.normalisation": "isodose",
        "uncertainty.setup": {"systematic_mm": SD_MM, "random_mm": SD_MM},
        "strategies.margins_mm": [MARGIN_MM],
        "goals": list(GOALS),
    }
    return simulator.load_study(simulator.example("sphere_truth"), changes)


def row(diameter_mm: float) -> str:
    """A line of the table."""
    volume, two_percent, shell_98, shell_35 = geometry(diameter_mm)
    results = simulator.run(study(diameter_mm), courses=COURSES)
    nominal = results["metrics/nominal"].isel(strategy=0)
    planned = [100 * float(nominal.sel(metric=goal.split(" >=")[0])) / 50 for goal in GOALS]
    reached = [100 * float(results["goals/probability"].isel(strategy=0).sel(goal=goal)) for goal in GOALS]
    same_as = 100 * (1 - COLD_MM3 / volume)
    cells = (f"{diameter_mm}", f"{volume / 1000:.3f}", f"{two_percent:.0f}", f"D{same_as:.1f}%")
    cells += (f"{shell_98:.2f}", f"{shell_35:.2f}", *(f"{p:.1f}" for p in planned), *(f"{p:.1f}" for p in reached))
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """The whole table."""
    head = (
        "| diameter (mm) | volume (cc) | 2 % of it (mm³) | DC0.035cc is | shell of D98% (mm) | of DC0.035cc (mm) "
        "| planned D98% (%) | DC0.035cc (%) | P(D98% >= 100 %) (%) | P(DC0.035cc >= 100 %) (%) |"
    )
    return "\n".join([head, "|" + "---|" * 10, *map(row, DIAMETERS_MM)]) + "\n"


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")
