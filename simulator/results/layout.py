"""The layout of results.nc: its version, and what its groups and dimensions are."""

from simulator.ground.spec import SimulatorError

# Major: something was renamed, removed or changed its meaning. Minor: something was added.
SCHEMA_VERSION = "1.3"

GROUPS = {
    "metrics": "every metric of every simulated course, and of the planned dose",
    "goals": "probability of each goal with its interval, and how far courses miss it",
    "joint": "probability that several goals hold in the same course",
    "comparison": "each strategy against each other, paired course by course",
    "margins": "margin that reaches the wanted coverage, beside published recipes, and what the difference is due to",
    "prescription": "what the same plans would do at other prescriptions",
    "decision": "verdict on each strategy, their order, and the recommended one",
    "weights": "expected harm where the study weighs harms (`decision.weights`)",
    "knowledge": "what it does to the answers that errors are known only so well (`known`)",
    "budget": "which source of error the variance of each metric is due to (`budget`)",
    "interplay": "what the meeting of breathing and delivery does to the nearest structures (`simulate.interplay: screen`)",
    "model_error": "how much of each probability rests on approximations (`simulate.model_error`)",
    "courses": "courses looked at: where the target went, and what it cost",
    "dvh": "dose-volume histograms: bands over courses, and of the planned dose",
    "plans": "margin, volumes and quality of each plan",
    "targets": "each of several targets: its coverage, PTV and plan quality",
    "leaves": "leaves and weights of optimised arcs",
    "engine": "how closely the engine that computed a plan's parts agrees with the planning system (`rtplan`)",
    "dose": "maps of planned dose and dose to tissue on a grid about the target",
}

DIMENSIONS = {
    "strategy": "name of the strategy, as in the report",
    "other": "the strategy that it is compared with",
    "mapped_strategy": "the first strategies of the order, of which doses of single courses are kept",
    "course": "number of the simulated course, from 0",
    "metric": 'metric of a structure, such as "GTV D98%"',
    "goal": "goal as written",
    "joint": "goals taken together, by name; `members` lists them",
    "target": "one of several targets, by its structure",
    "structure": "structure by its name in the study",
    "quantile": "quantile over courses, 0 to 1",
    "percentile": "percentile over courses at which a course was looked at",
    "map_percentile": "percentile over courses of the dose maps (`maps.percentiles`)",
    "dose": "dose in Gy",
    "volume": "volume in percent of the structure",
    "series": "strategies that differ by their margin alone",
    "direction": "right, left, anterior, posterior, inferior, superior",
    "recipe": "published margin recipe",
    "cause": "why the required margin differs from a recipe's",
    "scale": "factor on the study's prescription",
    "approximation": "static dose cloud, dose grid, cells and lattice, instants",
    "source": "source of error, by its key of `uncertainty`",
    "unknown": "part of the errors that is known only so well",
    "harm": "what `decision.weights` counts",
    "fraction": "fraction, from 1",
    "axis": "LR, AP, SI",
    "beam": "gantry angle, pass by pass",
    "edge": "border of leaf pairs",
    "leaf": "leaf pair",
    "x": "mm towards the patient's left (DICOM)",
    "y": "mm towards posterior (DICOM)",
    "z": "mm towards superior (DICOM)",
}


class NewerLayoutError(SimulatorError):
    """Results that a newer simulator wrote in a layout of its own."""


def require_known_layout(version: object) -> None:
    """Refuse results of a layout that is newer than this simulator knows; those from before 0.3.0 have no version.

    Raises
    ------
    NewerLayoutError : a newer major version.
    """
    own, _, _ = SCHEMA_VERSION.partition(".")
    major, _, _ = str(version).partition(".")
    if major.isdigit() and int(major) > int(own):
        raise NewerLayoutError(
            f"the layout of these results is version {version}, and this simulator reads versions up to {own}.x; "
            "open them with a newer simulator"
        )
