"""What is asked of results again and again: sweeps, joint probabilities, remarks."""

import numpy as np
import xarray as xr


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
