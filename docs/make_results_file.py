"""Write reference/results_file.md, results.nc group by group, from its tables: `python docs/make_results_file.py`."""

from pathlib import Path

from simulator.results.layout import DIMENSIONS, GROUPS, SCHEMA_VERSION
from simulator.results.registry import OPTIONAL, VARIABLES

HEAD = """# results.nc

Written by `docs/make_results_file.py` from the tables that results are checked against when they are written and opened. This
is layout {version} (`schema_version`): the second number grows when something is added; the first when something is renamed,
removed or means something else, and an older simulator refuses such a file.

It is a netCDF-4 file:

```python
import simulator

results = simulator.open_results("path/to/results")  # an xarray.DataTree; results.nc or its folder
covered = results["goals/probability"].sel(goal="GTV D98% >= 95%")
print(covered.to_series())
```

`xarray.open_datatree("results.nc")` opens it too, without the check that nothing was changed. Every variable has its unit in
the attribute `units` (empty where it is text, or where the unit is that of a metric or goal: see `unit` beside it) and its
meaning in `long_name`. Unit `1` is a share, a count or an index; probabilities are 0 to 1. Intervals are 95 %. The dimensions
of a sweep stand before those of the table.

## Attributes of the file
| attribute | what |
|---|---|
| `schema_version` | layout of the file, as above |
| `simulator_version`, `created`, `seconds` | version, date and time (UTC), and duration of the run |
| `config` | the resolved study, as YAML: what `config.yaml` holds |
| `name`, `subject`, `target`, `words` | from the study; `words` says it in sentences |
| `seed`, `n_courses` | seed, and courses of each strategy; with `decide` of the one that has most (`/decision/n_courses`) |
| `prescription_gy`, `fractions`, `isodose_percent` | the prescription |
| `case_name`, `case_description`, `frame_digest` | the anatomy, and its frame of reference (a digest) |
| `inputs` | SHA-256 of every file that the study was made of |
| `interplay` | structures that meet the parts of the plan; `screen` where they do in some courses alone; empty without |
| `observed`, `limits_of_doses`, `interval` | remarks on observed fractions, imported doses and the kind of interval |
| `sweep` | names of the sweep's dimensions; absent without a sweep |
| `result_hash` | SHA-256 of the numbers: equal for equal seeds, whatever the workers |
| `content_digest` | SHA-256 of every variable and attribute |

## Dimensions
| dimension | coordinate |
|---|---|
{dimensions}
"""


def section(name: str) -> list[str]:
    """Heading, meaning and variables of one group."""
    sometimes = " Absent where the study does not ask for it, or has none." if name in OPTIONAL else ""
    lines = [f"## /{name}", "", f"{GROUPS[name][0].upper()}{GROUPS[name][1:]}.{sometimes}", ""]
    lines += ["| variable | dimensions | unit | meaning |", "|---|---|---|---|"]
    for key, v in VARIABLES[name].items():
        only_asked = " (where asked for)" if f"{name}/{key}" in OPTIONAL else ""
        lines.append(f"| `{key}` | {', '.join(v.dims)} | {v.unit} | {v.meaning}{only_asked} |")
    return [*lines, ""]


def results_page() -> str:
    """The whole page."""
    dimensions = "\n".join(f"| `{name}` | {what} |" for name, what in DIMENSIONS.items())
    head = HEAD.format(version=SCHEMA_VERSION, dimensions=dimensions)
    return "\n".join([head, *(line for name in VARIABLES for line in section(name))])


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "results_file.md").write_text(results_page(), encoding="utf-8")
