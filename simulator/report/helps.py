"""What would help a strategy that does not suit: another prescription, or a smaller error."""

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.metrics.goals import parse_goal
from simulator.results.views import observed_remark


def help_for(results: xr.DataTree, strategy: str) -> list[str]:
    """Sentences on the prescription at which the same plan would suit, and on the source of error that costs most."""
    return [*_other_prescription(results, strategy), *_costliest_source(results, strategy)]


def _other_prescription(results: xr.DataTree, strategy: str) -> list[str]:
    """The prescriptions at which the same plan suits, or else the largest that keeps the limits on organs; nothing where
    fractions lie behind, whose dose nobody can scale."""
    if observed_remark(results):
        return []
    decision = results["decision"].to_dataset().sel(strategy=strategy)
    there = results["prescription"].to_dataset().sel(strategy=strategy)
    rx, wanted = float(results.attrs["prescription_gy"]), decision.attrs["wanted"]
    shown, largest, most = (float(there[f"largest{end}_gy"]) for end in ("_low", "", "_high"))
    bound = f"The limits are met as often as wanted up to {largest:.1f} Gy (95 % interval {shown:.1f} to {most:.1f} Gy)"
    suiting = there["dose_gy"].values[there["verdict"].values == "suits"]
    if len(suiting):
        return [
            f"The same plan, scaled, would suit at prescriptions from {suiting.min():.1f} to {suiting.max():.1f} Gy: the dose "
            f"that {wanted} asks for at {rx:g} Gy is then reached, and every mandatory limit kept, as often as wanted."
            + (f" {bound}." if np.isfinite(most) else "")
        ]
    if decision["organs_hold"].item() == "yes":
        return ["No prescription of the same plan is shown both to cover and to keep every mandatory limit."]
    if not np.isfinite(shown):
        return ["No lower prescription of the same plan is shown to keep every mandatory limit."]
    p, low, high = (percent(float(there[f"coverage_there{end}"])) for end in ("", "_low", "_high"))
    covers = decision["target_holds"].item() == "yes" and _scales_with_prescription(results)
    up_to = f"up to a prescription of {shown:.1f} Gy ({100 * shown / rx:.0f} %)"
    keeps = f"is shown to keep every mandatory limit {up_to}"
    suits = f"would suit {up_to}, with its coverage in percent of that prescription"
    return [
        f"The same plan, scaled, {suits if covers else keeps}. {bound}; beyond the lower end {there['first_limit'].item()} "
        f"fails first. At {shown:.1f} Gy the dose that {wanted} asks for at {rx:g} Gy is reached in {p} % of courses (95 % "
        f"interval {low} to {high} %)."
    ]


def _scales_with_prescription(results: xr.DataTree) -> bool:
    """Whether what is wanted of the target is the same at every prescription."""
    goals = results["goals"].to_dataset()
    of_target = (goals["role"] == "target") & goals["wanted_probability"].notnull()
    texts = [*results["decision"].attrs["wanted"].split("; "), *goals["goal"].values[of_target.values]]
    return all(
        goal.metric.is_of_prescription or (goal.unit == "%" and goal.metric.unit == "Gy")
        for goal in map(parse_goal, texts)
    )


def _costliest_source(results: xr.DataTree, strategy: str) -> list[str]:
    """The source of error whose removal helps most, by the uncertainty budget: the coverage, or the least certain limit that
    fails."""
    if "budget" not in results.children or strategy not in results["budget"].to_dataset()["strategy"].values:
        return []
    budget = results["budget"].to_dataset().sel(strategy=strategy)
    decision = results["decision"].to_dataset().sel(strategy=strategy)
    goals = results["goals"].to_dataset().sel(strategy=strategy)
    n, found = budget.attrs["n_courses"], []
    if decision["target_holds"].item() != "yes":
        found.append(_cost("the coverage", budget["coverage_without"], budget["coverage"], n, decision.attrs))
    lacking = goals.isel(goal=np.flatnonzero((goals["role"] != "target") & (goals["holds"].isin(["no", "not known"]))))
    if lacking.sizes["goal"]:
        goal = str(lacking["goal"][np.argmin((lacking["probability"] - lacking["wanted_probability"]).values)].item())
        found.append(
            _cost(goal, budget["without"].sel(goal=goal), budget["probability"].sel(goal=goal), n, decision.attrs)
        )
    return found


def _cost(what: str, without: xr.DataArray, now: xr.DataArray, n_courses: int, rule: dict[str, float]) -> str:
    """Which source costs a probability most."""
    most = without.isel(source=int(np.argmax(without.values)))
    points = 100 * rule["indifference"]
    if 100 * float(most - now) < points:
        least = f"{points:g} point{'' if points == 1 else 's'}"
        return f"No single source of error costs {what} {least} or more ({n_courses} courses of the budget)."
    return (
        f"Of the sources of error, {most['source'].item()} costs {what} most: {percent(float(now))} % with it, "
        f"{percent(float(most))} % without ({n_courses} courses of the budget)."
    )
