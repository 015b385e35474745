"""What is asked of results again and again: sweeps, joint probabilities, remarks."""

import numpy as np
import xarray as xr

_ROUGH = 0.02


def sweep_axes(results: xr.DataTree) -> list[str]:
    """Names of the dimensions that a sweep put in front; none without one."""
    return [str(dim) for dim in results["goals/probability"].dims if dim not in ("strategy", "goal")]


def sweep_points(results: xr.DataTree) -> list[dict[str, int]]:
    """Position on each axis of every point of a sweep; one empty position without one."""
    axes = sweep_axes(results)
    sizes = [results["goals/probability"].sizes[axis] for axis in axes]
    return [dict(zip(axes, (int(i) for i in at), strict=True)) for at in np.ndindex(*sizes)]


def lost_targets(results: xr.DataTree) -> str:
    """A sentence about courses without a true target, the most of any point of a sweep; empty if there are none."""
    n = int(results["metrics/n_without_target"].max())
    if not n:
        return ""
    return (
        f"In {n} of {results.attrs['n_courses']} courses the delineation error leaves nothing of the true target; they count "
        "as not covered, with 0 Gy to the target. Is the error meant to be as large as the target?"
    )


def rough_doses(results: xr.DataTree) -> str:
    """A sentence about structures whose doses are known roughly only; empty if there are none."""
    dvh = results["dvh"].to_dataset()
    worst_gy = dvh["interpolation_error_gy"].max("strategy")
    some = worst_gy.where(worst_gy > _ROUGH * results.attrs["prescription_gy"], drop=True)
    if not some.size:
        return ""
    which = ", ".join(f"{name} ({gy:.1f} Gy)" for name, gy in zip(some["structure"].values, some.values, strict=True))
    return (
        f"Doses at volumes may be off by up to what stands beside these structures: {which}. Their planned dose "
        "changes a lot within one step of its grid, or within their cells."
    )


def stopped_by_strategy(results: xr.DataTree, at: dict[str, int] | None = None) -> dict[str, str]:
    """What is to be said beside the probabilities of strategies that were stopped, by strategy; none without `decide`.

    Parameters
    ----------
    at : point of a sweep, as `sweep_points` gives it.
    """
    decision = results["decision"].to_dataset().isel(at or {})
    if "stopped" not in decision:
        return {}
    pairs = zip(decision["strategy"].values, decision["stopped"].values, strict=True)
    return {str(name): str(said) for name, said in pairs if said}


def courses_by_strategy(results: xr.DataTree) -> list[int]:
    """Number of courses of each strategy of a study."""
    decision = results["decision"].to_dataset()
    if "n_courses" not in decision:
        return [int(results.attrs["n_courses"])] * decision.sizes["strategy"]
    return [int(n) for n in decision["n_courses"].values]


def courses_per_strategy(results: xr.DataTree) -> str:
    """How many courses were simulated of each strategy."""
    of_each = courses_by_strategy(results)
    fewest, most = min(of_each), max(of_each)
    return f"{fewest} to {most}" if fewest < most else str(most)


def own_courses(values: xr.DataArray) -> np.ndarray:
    """A metric (course,) of a strategy in those courses that were simulated of it."""
    return values.values[np.flatnonzero(values.notnull())] if values.isnull().any() else values.values


def observed_remark(results: xr.DataTree) -> str:
    """A sentence about fractions that lie behind; empty where there are none."""
    return str(results.attrs.get("observed", ""))


def asks_each_target(results: xr.DataTree) -> bool:
    """Whether each of several targets has to be covered by itself, and not all in the same course."""
    return bool(results["decision"].attrs.get("coverage") == "each")


def joint_probability(results: xr.DataTree, name: str) -> xr.Dataset:
    """A joint probability with its interval; NaN where it has no members, since a goal that is not set is not met either."""
    joint = results["joint"].to_dataset().sel(joint=name)
    numbers = joint[["probability", "ci_low", "ci_high"]]
    return numbers.where(joint["members"].astype(str) != "").assign(members=joint["members"])
