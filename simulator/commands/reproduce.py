"""Published studies simulated: what was published beside what is found, and why they differ where they do."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from simulator import __version__
from simulator.execution.study import run
from simulator.ground.files import write_whole
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.study_file.loading import load_study
from simulator.study_file.shipped import published_studies

_NOT_HERE = """Not here, because what they depend on is not public beside the result: Gordon & Siebers 2007 (coverage where
systematic errors are small; the values are within the paper), Wolthaus 2008 (PTVs of an ITV, gating and mid-position in 45
patients, +6, -10 and -10 %: their errors are not in the abstract), Pepin 2011 (duty cycles of 34 to 42 %: window and amplitude
are those of each patient)."""
_PERCENT = {"probability": 100.0, "mean": 1.0}


@dataclass(frozen=True)
class Reproduced:
    """A published value beside the simulated one, both in percent.

    Parameters
    ----------
    low, high : 95 % interval of what was found.
    tolerance : how exactly the published value is meant.
    table : where it stands. remark : why the two differ, or need not.
    """

    study: str
    what: str
    published: float
    tolerance: float
    found: float
    low: float
    high: float
    table: str
    remark: str

    @property
    def agrees(self) -> bool:
        """Whether the published value with its tolerance and the interval of the simulated one have a value in common."""
        return self.low <= self.published + self.tolerance and self.high >= self.published - self.tolerance


def reproduce(name: str | None = None) -> Iterator[Reproduced]:
    """Every value of the published studies, or of one of them, as they are simulated.

    Raises
    ------
    ConfigError : unknown name.
    """
    known = published_studies()
    if name is not None and name not in known:
        raise ConfigError(
            f"reproduce: no published study {name!r}; they are {', '.join(known)}{did_you_mean(name, known)}"
        )
    for one in [name] if name else known:
        results = run(load_study(known[one]))
        with known[one].with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield _compared(one, row, results)


def _compared(study: str, row: dict[str, str], results: xr.DataTree) -> Reproduced:
    quantity, at = row["quantity"], {"strategy": row["strategy"], "goal": row["goal"]}
    ends = {"probability": ("probability", "ci_low", "ci_high"), "mean": ("mean", "mean_low", "mean_high")}[quantity]
    one = results["goals"].to_dataset().sel(at)
    found, low, high = (_PERCENT[quantity] * float(one[key]) for key in ends)
    published, tolerance = (_PERCENT[quantity] * float(row[key]) for key in ("published", "tolerance"))
    what = row["goal"] if quantity == "probability" else f"mean of {row['goal'].split(' >')[0].split(' <')[0]}"
    return Reproduced(study, what, published, tolerance, found, low, high, row["table"], row["remark"])


def rows_of(done: Sequence[Reproduced]) -> tuple[list[str], list[list[str]]]:
    """A table of what was published and found."""
    columns = ["study", "what", "published (%)", "found (%)", "result", "why", "published in"]
    rows = [
        [r.study, r.what, f"{r.published:g} ± {r.tolerance:g}", f"{r.found:.1f} ({r.low:.1f}-{r.high:.1f})",
         "agrees" if r.agrees else "disagrees", r.remark, r.table]
        for r in done
    ]  # fmt: skip
    return columns, rows


def write_page(done: Sequence[Reproduced], path: Path) -> None:
    """The table as a page in Markdown."""
    columns, rows = rows_of(done)
    table = [columns, ["---"] * len(columns), *rows]
    lines = [
        "# Published studies, simulated",
        "",
        f"Made by `simulator reproduce` (simulator {__version__}): each row is a study in `configs/published`, with what was",
        "published, how exactly that is meant, and the 95 % interval of the simulation. A row agrees where both have one",
        "value in common; where they do not, the remark says why.",
        "",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table),
        "",
        _NOT_HERE,
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(lines) + "\n")
