"""The targets of a study: what belongs to each of them alone."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial

from simulator.accumulation.true_target import TrueTarget
from simulator.case.anatomy import Case
from simulator.case.structures import Structure
from simulator.ground.once import Once
from simulator.metrics.goals import Goal
from simulator.plan.prescription import Prescription
from simulator.study_file.schema import StudyConfig
from simulator.study_file.targets import TargetOfStudy
from simulator.uncertainty import Uncertainty

# Points of a sweep that share a case share its anatomy.
_true_targets: Once[TrueTarget] = Once(4)


@dataclass(frozen=True)
class Target:
    """One target. Setup, rotation, drift, breathing and guidance are those of the patient, and all targets share them.

    Parameters
    ----------
    number : 0, 1, ... in the study; its own errors have random streams by it (`simulator.sampling.streams.TargetDraws`).
    structure : as drawn; margins are added to it.
    prescription : its own, which goals on it in percent refer to.
    uncertainty : as it meets it: baseline, registration and delineation are its own.
    wanted : the goals on it that a strategy has to meet, together with those on all other targets.
    true_target : it under delineation error; None without.
    stated : what the study says of it alone.
    """

    number: int
    structure: Structure
    prescription: Prescription
    uncertainty: Uncertainty
    wanted: tuple[Goal, ...]
    true_target: TrueTarget | None
    stated: TargetOfStudy = field(default_factory=TargetOfStudy)

    @property
    def name(self) -> str:
        """Name of its structure."""
        return self.structure.name


def targets_of(config: StudyConfig, case: Case, source: Hashable, wanted: tuple[Goal, ...]) -> tuple[Target, ...]:
    """The targets of a study, `source` being what their anatomy depends on."""
    max_points, found = config.numerics.max_points, []
    for number, structure in enumerate(case.targets):
        stated = config.targets.get(structure.name, TargetOfStudy())
        owner = structure.name if len(case.targets) > 1 else ""
        uncertainty, prescription = stated.errors(config.uncertainty, owner), stated.prescribed(config.prescription)
        true_target = None
        if (delineation := uncertainty.delineation) is not None:
            key = source, structure.name, max_points, delineation
            true_target = _true_targets.get(key, partial(TrueTarget.around, structure, delineation, max_points))
        own = tuple(goal for goal in wanted if goal.metric.structure == structure.name)
        found.append(Target(number, structure, prescription, uncertainty, own, true_target, stated))
    return tuple(found)
