"""Plan models: where the planned dose of each candidate margin comes from."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from simulator.case.anatomy import Case, ImportedDose
from simulator.case.structures import Structure
from simulator.ground.once import cached_property
from simulator.ground.spec import Field, Spec
from simulator.plan.dose import PlannedDose
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Plan
from simulator.plan.sparing import Sparing
from simulator.plan.targets import Expansion, TargetVolume, expand, planning_target
from simulator.plan.together import plans_together
from simulator.strategy import Strategy

Design = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Order:
    """What one plan is made for: a planning target, its margin, the prescription, and what organs ask.

    Parameters
    ----------
    besides : what the plans of other targets give; None where that is not known, or there are none.
    """

    case: Case
    target: TargetVolume
    expansion: Expansion
    prescription: Prescription
    sparing: Sparing = field(default_factory=Sparing)
    besides: PlannedDose | None = None

    @cached_property
    def ptv(self) -> TargetVolume:
        """The planning target grown by the margin."""
        return expand(self.target, self.expansion)


class PlanModelKind(Spec):
    """A plan model: an order in, a planned dose out.

    A new one has its name in `model: Literal["..."]` and `plan`: make a dose for the order's PTV in Gy of the whole course
    (`simulator.plan.dose.PlannedDose`, often a `SplineDose`), and rate it with `simulator.plan.quality.plan_quality`. It
    refuses in `check` what it cannot plan, makes several plans at once in `plans` if they share work, and is one word in
    `simulator.study_file.schema.PlanModel`.
    Where candidates differ in more than margin and planning target, `of` says what of it is a candidate's own.
    One that optimises says so in `is_optimised` and decides in `design`, once for a study, what `plans` then makes of it.

    Attributes
    ----------
    memory_mb : what its plans need at most in MB, roughly.
    limits_of_doses : what the report says of the limits of its doses.
    plans_any_margin : whether it makes a plan for whatever margin is asked for.
    is_optimised, has_engine : whether what `design` finds, leaves or an engine's doses, is made once for a study and kept.
    has_parts : whether it may know when which part of its dose is delivered; see `check_parts`.
    prv : what a planning-risk volume of a strategy is to it: nothing that it knows of, a name of plans, or planned on.
    """

    memory_mb: ClassVar[float] = 400
    limits_of_doses: ClassVar[str] = "A synthesised dose is a model of a plan, not a calculation of dose transport."
    plans_any_margin: ClassVar[bool] = True
    is_optimised: ClassVar[bool] = False
    has_engine: ClassVar[bool] = False
    has_parts: ClassVar[bool] = False
    prv: ClassVar[Literal["unknown", "a name", "planned on"]] = "unknown"

    scale: Annotated[float, Field(ge=0.1, le=3)] = Field(
        1.0,
        description="factor on the dose of the finished plan, the prescription staying as it is: the same plan at another "
        "prescription; plan quality is that before",
    )

    @abstractmethod
    def plan(self, order: Order) -> Plan:
        """The plan that is ordered; raises as `check` does."""

    def plans(
        self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]], designs: Sequence[Design] = ()
    ) -> Sequence[Plan]:
        """The plans of several margins around one planning target.

        Parameters
        ----------
        map_ : applies a function to items, like `map`, in parallel where wanted.
        designs : what `design` found for each plan earlier; found now by default.
        """
        return list(map_(self.plan, orders))

    def plans_of_targets(
        self,
        orders: Sequence[Sequence[Order]],
        map_: Callable[..., Iterable[Any]],
        designs: Sequence[Sequence[Design]],
        *,
        in_turn: bool,
    ) -> list[Plan]:
        """The plans of several margins around the planning targets of all targets.

        Parameters
        ----------
        orders, designs : by target, of each margin; see `plans`.
        """
        made = [self.plans(order, map_, known) for order, known in zip(orders, designs, strict=True)]
        if len(made) == 1:
            return list(made[0])
        pairs = zip(zip(*made, strict=True), zip(*orders, strict=True), strict=True)
        return [self.together(of_targets, ordered, in_turn=in_turn) for of_targets, ordered in pairs]

    def together(self, plans: Sequence[Plan], orders: Sequence[Order], *, in_turn: bool) -> Plan:
        """One plan of those of several targets, which are about isocentres of their own where they are delivered in turn."""
        names = [order.case.target for order in orders]
        return plans_together(plans, names, [order.prescription for order in orders], in_turn=in_turn)

    def design(self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]]) -> Sequence[Design]:
        """What decides each plan: arrays by name, to be kept; nothing where planning is quick and the same everywhere."""
        return [{} for _ in orders]

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what cannot be planned around one planning target, without computing doses.

        Raises
        ------
        ConfigError, CaseError : what is wrong with the study or with the patient data.
        """

    def check_parts(self, orders: Sequence[Order]) -> None:
        """Refuse plans of which it is not known when which part of their doses is delivered.

        Raises
        ------
        ConfigError : what is missing.
        """

    @property
    def keeps_designs(self) -> bool:
        """Whether what `design` finds is kept."""
        return self.is_optimised or self.has_engine

    @property
    def plan_seconds(self) -> float:
        """Rough time of a plan on one processor."""
        return 0.4

    @property
    def limiting_goals(self) -> tuple[str, ...] | Literal["goals"]:
        """Goals on organs that plans keep, in words; "goals": those of the study that are not optimal."""
        return ()

    @property
    def edge_sd_mm(self) -> float | None:
        """Penumbra of its dose edge, one SD in mm, for margin recipes; None where it is not known."""
        return None

    def of(self, strategy: Strategy, expansions: Mapping[str, Expansion]) -> "PlanModelKind":
        """What of the model a candidate is planned by, given its margins by target: candidates of the same margins and planning
        targets share a plan where it is the same.

        Raises
        ------
        ConfigError : the model has no plan for this candidate.
        """
        return self

    def check_all_used(self, by_candidates: Collection["PlanModelKind"]) -> None:
        """Refuse parts of the model that are of no candidate; `by_candidates` are what `of` gives for each.

        Raises
        ------
        ConfigError : what is not used.
        """

    def describe(self, case: Case, strategies: Sequence[Strategy]) -> list[str]:
        """Sentences for the report on where the plan that some candidates share comes from; for what `of` gives."""
        return []

    def planning_structure(self, target: str) -> str | None:
        """The drawn structure that a target's margin was added to; None where it is the target along its path."""
        return None

    def planning_target(self, case: Case, target: Structure, path_mm: np.ndarray) -> TargetVolume:
        """What margins are added to: a target at every position (n, 3) of a path, or what was drawn in its place."""
        return planning_target(target.region, path_mm)

    def ptv(self, order: Order) -> TargetVolume:
        """What a plan of the order covers: the planning target grown by the margin, or what was drawn in its place."""
        return order.ptv

    @property
    def planning_volumes(self) -> frozenset[str]:
        """Structures that were drawn for planning, and are no tissue of their own."""
        return frozenset()

    @property
    def treats_each(self) -> bool:
        """Whether each of several targets has a plan of its own, and all of them add up."""
        return True

    def beam_gy(self, of_targets: Sequence[float], of_study: float) -> float:
        """The dose whose time the beam takes, of those prescribed to each target and by the study."""
        return sum(of_targets) if self.treats_each else of_study

    def used_for(self, case: Case, target: str) -> list[ImportedDose]:
        """Those of the doses that a study uses which treat a target."""
        return []

    def used(self, case: Case) -> list[ImportedDose]:
        """Doses of the patient's own that the study uses, each once, unknown beyond their grids; none where plans are computed
        here."""
        return []
