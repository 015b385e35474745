"""Write reference/constraints.md from the goal libraries: `python docs/make_constraints.py`."""

from importlib import resources
from pathlib import Path

import yaml

from simulator.study_file.published import GoalLibrary, library_names

PHANTOM_ORGANS = {
    "mediastinal": (
        *("SpinalCord", "Esophagus", "BronchialTree_Prox", "Trachea", "GreatVes", "Heart", "Lungs", "ChestWall"),
    ),
    "abdominal": (
        *("SpinalCord", "Duodenum", "Bowel_Small", "Bowel_Large", "Stomach", "Liver", "Kidney_L", "Kidney_R"),
        *("GreatVes", "Bladder"),
    ),
    "pelvic": (
        *("Bladder", "Rectum", "Bowel_Large", "Bowel_Small", "CaudaEquina", "SacralPlex_L", "SacralPlex_R"),
        *("Femur_Head_L", "Femur_Head_R"),
    ),
}

HEAD = """# Published constraints

Written by `docs/make_constraints.py` from `simulator/metrics/libraries`; a test keeps it in step. A study
names a library among its goals (`mediastinal-5fx`); its number of fractions has to match.

These are starting points for a simulation, not a protocol: confirm each limit with its source before clinical
use.

How the rows were chosen:

- Checked `yes` means that the number was compared with a page that shows it. That page is often an abstract
  or a transcription of the original table, as the source says. Checked `no` means that the number was quoted
  from memory.
- One row has one source. A number stands only at the fractionation at which it was published: nothing is
  interpolated or converted. The maximum and volume limits of TG-101 at 3 and 5 fractions do not follow one
  alpha/beta, so a conversion between them has no basis.
- The spinal cord maximum is the HyTEC limit at 3, 4 and 5 fractions. The older TG-101 maximum (21.9 Gy in 3,
  30 Gy in 5) is left out: at 5 fractions it is much the more permissive of the two.
- A point maximum is evaluated as D0.035cc, and so is D0.03cc; this is slightly less strict.
- A source that gives one limit without a level counts as `mandatory`. A limit published as "less than" is
  written `<=`.
- `CV21.5Gy >= 700 cc` says that at least 700 cc receive less than 21.5 Gy.
- A limit published for a pair of organs, or for two organs together, is evaluated on each where the note says
  so; for a volume limit this is the less strict reading.
- Several 8-fraction limits come from one clinic's settings, and some of those equal the 5-fraction limits
  scaled with an alpha/beta of 3 Gy. Their notes say so; the oesophagus limit D1cc is the only independent
  one.

What is missing:

- Limits on both kidneys together (200 cc of renal cortex below a dose, mean dose of both) cannot be written
  for one structure and are left out, as are limits on two thirds of the renal hilum.
- The lung limits of the 4-fraction source are ambiguous in print. Its spinal cord limit, 20.8 Gy to 0.03 cc,
  is stricter than the HyTEC one that stands here.
- The liver limit of the 6-fraction source is a 5 % complication probability, not a dose.
- Pelvic libraries for 4, 6 and 8 fractions do not exist, because no limits were found beyond bowel at 6
  fractions.
- Brachial plexus, skin, bile duct and small airways have no structure in the phantoms and no rows here.
- Organs of a phantom without any limit are named under each library; a study that uses it says nothing about
  them.
"""


def libraries() -> list[GoalLibrary]:
    """Every library of the package, by name."""
    folder = resources.files("simulator.metrics") / "libraries"
    texts = [(folder / f"{name}.yaml").read_text(encoding="utf-8") for name in library_names()]
    return [GoalLibrary.model_validate(yaml.safe_load(text)) for text in texts]


def section(library: GoalLibrary) -> list[str]:
    """Heading, organs without a limit and table of one library."""
    limited = {goal.goal.split()[0] for goal in library.goals}
    without = [organ for organ in PHANTOM_ORGANS[library.site] if organ not in limited]
    lines = [f"## {library.name}", ""]
    if without:
        lines += [f"Without a limit: {', '.join(without)}.", ""]
    lines += ["| goal | level | endpoint; note | source | checked |", "|---|---|---|---|---|"]
    for goal in library.goals:
        remark = "; ".join(part for part in (goal.endpoint, goal.note) if part)
        checked = "yes" if goal.checked else "no"
        lines.append(f"| `{goal.goal}` | {goal.level} | {remark} | {goal.source} | {checked} |")
    return [*lines, ""]


def constraints_page() -> str:
    """The whole page."""
    lines = [HEAD]
    for library in libraries():
        lines += section(library)
    return "\n".join(lines)


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "constraints.md").write_text(constraints_page(), encoding="utf-8")
