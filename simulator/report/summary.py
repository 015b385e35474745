"""summary.pdf: the study on two pages for the tumour board."""

from pathlib import Path
from typing import Any

import xarray as xr

from simulator.plots import SummaryWords, summary_sheets
from simulator.plots.paper import pdf_bytes
from simulator.plots.style import readable
from simulator.report.decision import decision_table
from simulator.report.limits import model_limits
from simulator.report.text import cell
from simulator.report.verdicts import limits_of
from simulator.results.views import courses_per_strategy, sweep_axes


def render_summary(results: xr.DataTree, path: Path) -> None:
    """Write two A4 pages; the same results give the same bytes. A sweep has none, its points have."""
    if not sweep_axes(results):
        words = words_of(results)
        path.write_bytes(pdf_bytes(summary_sheets(results, words), words.title))


_WHOM = {"patient": "one patient", "population": "a population with this anatomy"}


def words_of(results: xr.DataTree) -> SummaryWords:
    """What the pages say."""
    about, decision = {str(key): value for key, value in results.attrs.items()}, decision_table(results)
    chosen = results["decision"].attrs["recommended"] or results["decision"].attrs["nearest_miss"]
    return SummaryWords(
        title=f"{about['name']}: robustness of stereotactic treatment plans",
        warning="Research software, not a medical device.",
        question=_question(results),
        verdict=[*decision["first"], *decision["then"]],
        strategies=[_strategy_row(row) for row in decision["rows"]],
        strategy=chosen,
        goals=_goal_rows(results, chosen),
        limits=model_limits(about),
        provenance=[
            f"simulator {about['simulator_version']}; run of {about['created'][:16].replace('T', ' ')} UTC; "
            f"seed {about['seed']}; {courses_per_strategy(results)} courses per strategy; intervals: {about['interval']}",
            f"SHA-256 of the numbers: {about['result_hash']}",
        ],
        footer=f"{about['name']}, seed {about['seed']}, numbers {about['result_hash'][:12]}",
    )


def _question(results: xr.DataTree) -> str:
    about, attrs = results.attrs, results["decision"].attrs
    n = results["decision"].sizes["strategy"]
    which = f"Which of {n} strategies (margin, motion management, image guidance) covers" if n > 1 else "Does it cover"
    return (
        f"{which} the target {about['target']} and spares the organs, whatever may go wrong in the course? "
        f"About {_WHOM[about.get('subject', 'population')]}: {about['case_name']}, {about['prescription_gy']:g} Gy in "
        f"{about['fractions']} fractions on the {about['isodose_percent']:g} % isodose. "
        f"Wanted: {readable(attrs['wanted'])} in {100 * attrs['probability']:g} % of courses and each mandatory limit of an "
        f"organ in {100 * attrs['organ_probability']:g} % (unless the study gives a goal its own), each at the lower end of "
        f"its 95 % interval; simulated in {courses_per_strategy(results)} whole courses of "
        "each strategy, the same virtual patients for all."
    )


def _shown(probability: dict[str, str]) -> str:
    """A probability and its interval in percent, on one line."""
    interval = probability["interval"].replace(" to ", "–")
    return f"{probability['text']} ({interval})" if interval else probability["text"]


def _shorter(verdict: str) -> str:
    return verdict.replace("target covered:", "target:").replace("organs spared:", "organs:")


def _strategy_row(row: dict[str, Any]) -> list[str]:
    verdict, coverage, organs = _shorter(row["labelled"]), _shown(row["coverage"]), _shown(row["organs"])
    return [row["strategy"], verdict, coverage, row["limits"], organs, row["ptv_cc"]]


def _goal_rows(results: xr.DataTree, strategy: str) -> list[list[str]]:
    """Goals on the target, then the mandatory limits on organs, the least certain first."""
    goals = results["goals"].to_dataset().sel(strategy=strategy)
    targets = goals.isel(goal=(goals["role"] == "target").values)
    decision = results["decision"].to_dataset().sel(strategy=strategy)
    wanted = decision.attrs["wanted"].split("; ")
    asked = (
        {wanted[0]: (decision.attrs["probability"], str(decision["target_holds"].item()))} if len(wanted) == 1 else {}
    )
    return [
        _goal_row(some.isel(goal=i), asked)
        for some in (targets, limits_of(results, strategy))
        for i in range(some.sizes["goal"])
    ]


def _goal_row(goal: xr.Dataset, asked: dict[str, tuple[float, str]]) -> list[str]:
    """A goal as it is met; `asked` are the probability wanted of the coverage and whether it holds."""
    text, unit = str(goal["goal"].item()), str(goal["unit"].item())
    wanted, holds = asked.get(text, (float(goal["wanted_probability"]), str(goal["holds"].item())))
    worse = "p05" if str(goal["operator"].item()) in (">=", ">") else "p95"
    return [
        readable(text),
        _shown(cell(goal)),
        *((f"{100 * wanted:g}", holds) if wanted == wanted else ("–", "not asked")),
        *(f"{float(goal[key]):.1f} {unit}" for key in ("nominal", "median", worse)),
    ]
