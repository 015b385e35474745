"""Write reference/goals.md, the language of goals, from the kinds of metric: `python docs/make_goals.py`."""

from pathlib import Path

from simulator.metrics.kinds import KINDS
from simulator.study_file.published import library_names

PAGE = """# Goals

Written by `docs/make_goals.py`. A goal says of which structure what is measured, and its limit:

```text
STRUCTURE METRIC OP VALUE [unit]        GTV D98% >= 95%        Esophagus D0.035cc <= 35 Gy
```

In a study, goals of one's own and names of libraries stand side by side:

```yaml
goals:
  - mediastinal-5fx                        # published limits for this site and 5 fractions
  - "GTV D98% >= 95%"                      # percent of the prescription
  - "SpinalCord D0.035cc <= 25.3 Gy"
  - "Lungs V20Gy <= 10 %"                  # percent of the volume
  - "Lungs CV12.4Gy >= 1500 cc"            # at least 1500 cc are spared: they get less than 12.4 Gy
  - "Esophagus EQD2(3):D0.035cc <= 60 Gy"  # a biological dose, α/β of 3 Gy
```

## Parts
- **Structure**: its name in the study, case and all. Names follow TG-263 (`GTV`, `SpinalCord`, `Esophagus`,
  `BronchialTree_Prox`); those of a clinic are given standard ones by `case.aliases`. A name has no blanks.
- **Metric**: one of the table below.
- **Comparison**: `<=`, `>=`, `<` or `>`. A value within 10⁻⁶ of the limit counts as on it.
- **Unit**: `Gy`, `%` or `cc`. A limit of a dose in `%` is of the prescription; a limit of a volume in `%` is of the
  structure. Doses are in Gy, never cGy.

| metric | limit in | meaning |
|---|---|---|
{metrics}

Any metric of the dose may be taken of a biological dose, with the α/β in Gy before it: `EQD2(2):D0.035cc`, `BED(10):D98%`.
Limits of doses are then in Gy. The biological dose is that of the course, fraction by fraction. `TCP` and `NTCP` have their
parameters under [biology](configuration.md#biology).

## What counts as met
Each simulated course gives each metric a number, and the goal is met or not. The probability of the goal is the share of
courses that meet it; its 95 % interval says how well so many courses know that. The
[verdict](../explanation/model.md#the-decision) asks for the wanted coverage (by default D98% of the target >= 95 % of the
prescription) and for every **mandatory** goal on an organ. Goals of one's own and most published ones are mandatory; some
published ones are **optimal**: they are reported and decide nothing. `decision` has the wanted probabilities.

## Libraries
[Published constraints](constraints.md) lists every row with its source. A library is for one number of fractions, and is
refused in a study with another: limits are never converted. Known are {libraries}.

## A library of one's own
A file beside the study, named among its goals by its path (`goals: [our_limits.yaml]`):

```yaml
name: our-limits
fractions: 5
goals:
  - goal: "Esophagus D0.035cc <= 34 Gy"
    level: mandatory                       # or optimal
    source: "department protocol 12, version 3"
    checked: true                          # compared with its source
    endpoint: "stenosis, grade 3 or worse" # this and the next line as wanted
    note: "published as point maximum"
```

## What is refused
Unknown structures and metrics (with the nearest known name), values without a unit that could be two things, percentages
above 100 of a volume, doses in cGy, a goal given twice, and goals on one structure that contradict each other.
"""


def goals_page() -> str:
    """The whole page."""
    metrics = "\n".join(
        f"| `{kind.example}` | {' or '.join(kind.limit_units)} | {(kind.__doc__ or '').splitlines()[0].rstrip('.')} |"
        for kind in KINDS
    )
    libraries = ", ".join(f"`{name}`" for name in library_names())
    return PAGE.format(metrics=metrics, libraries=libraries)


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "goals.md").write_text(goals_page(), encoding="utf-8")
