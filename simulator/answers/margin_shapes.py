"""Six margins of the shape that costs least, searched with the dose edge of one plan and the courses' displacements.

What is found is a shape: how the six margins compare. Its size is for real plans to find (`simulator.answers.margin_sizes`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from simulator.answers.plan_edge import edge_of_dose, few_instants, part_percent, wanted_dose_gy
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.parallel import Executor, in_order
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.metrics.goals import Goal
from simulator.plan.quality import Plan
from simulator.plan.targets import Expansion, TargetVolume, expand
from simulator.population.edge_model import Edge
from simulator.population.margin_search import Cloud, Map, least_of, size_that_covers, slack
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.sampling.delivery import Delivery
from simulator.sampling.streams import Draws
from simulator.simulation.courses import deliver_courses

ISOTROPIC, VAN_HERK, SMALLEST = "isotropic", "van Herk's proportions", "smallest PTV"
_MOST_VISITS, _MOST_COURSES, _LEAST_COURSES, _INSTANTS = 7500, 2000, 200, 3
_COURSES_OF_ORGAN, _MOST_CELLS, _TIMES_HOT = 300, 150, 6.0
_TIMES_MISSED, _NONE_MM = 4.0, 0.01
_PER_COVER, _ROUNDS = 10.0, 2

Cost = Callable[[np.ndarray], float]


def away_from(organ: str) -> str:
    """Name of the margins that spare an organ."""
    return f"away from {organ}"


@dataclass(frozen=True)
class Asked:
    """A goal on the target, and its points in the courses; `share` of the edge's wanted dose is what it asks for."""

    cloud: Cloud
    percent: float
    share: float


@dataclass(frozen=True)
class Spared:
    """A limit of an organ, its hottest points in the courses, and the probability with which it shall hold."""

    cloud: Cloud
    hot_cc: float
    limit_gy: float
    probability: float


def _spared_by(search: "Search", sides_mm: np.ndarray) -> float:
    return _PER_COVER * search.spare(sides_mm)


@dataclass(frozen=True)
class Search:
    """What coverage and harm six margins cost, at once.

    Parameters
    ----------
    wanted_gy : the unit of the edge's doses.
    map_ : applies a function to items, like `map`.
    kept : share of the courses that the points are followed in; the others are covered in any case.
    """

    edge: Edge
    wanted_gy: float
    planning_target: TargetVolume
    asked: tuple[Asked, ...]
    spared: tuple[Spared, ...]
    coverage: float
    largest_mm: float
    map_: Map
    kept: float = 1.0

    def lowest(self, sides_mm: np.ndarray) -> np.ndarray:
        """Dose (course,) to what has to be covered, as a share of what is wanted."""
        lowest = [a.cloud.coldest(self.edge, sides_mm, a.percent, self.map_) / a.share for a in self.asked]
        return np.asarray(np.min(lowest, axis=0))

    def narrowed(self, *several_mm: np.ndarray) -> "Search":
        """The same search among the courses that some margins cover least: four times as many as may be missed, of each."""
        n_kept = int(np.ceil(min(1.0, _TIMES_MISSED * (1 - self.coverage)) * self.n_courses))
        worst = np.unique([np.argsort(self.lowest(sides_mm), kind="stable")[:n_kept] for sides_mm in several_mm])
        asked = tuple(replace(a, cloud=a.cloud.of_courses(worst)) for a in self.asked)
        return replace(self, asked=asked, kept=len(worst) / self.n_courses)

    @property
    def n_courses(self) -> int:
        """Courses that are followed."""
        return len(self.asked[0].cloud.weight)

    def spare(self, sides_mm: np.ndarray) -> float:
        """How far the coverage of six margins lies above the wanted one, as a share of the wanted dose."""
        return slack(self.lowest(sides_mm), self.coverage, self.kept)

    def volume_cc(self, sides_mm: np.ndarray) -> float:
        """Volume of the PTV."""
        negative, positive = np.where(sides_mm < _NONE_MM, 0.0, sides_mm).reshape(3, 2).T
        return expand(self.planning_target, Expansion(negative, positive)).volume_cc

    def excess_gy(self, sides_mm: np.ndarray) -> float:
        """By how much the dose that the wanted share of courses stays below exceeds the organ's limits, at most; negative where
        all of them hold."""
        return max(
            float(np.quantile(s.cloud.hottest(self.edge, sides_mm, s.hot_cc, self.map_), s.probability))
            * self.wanted_gy
            - s.limit_gy
            for s in self.spared
        )

    def shapes(self, recipe_mm: np.ndarray, organ: str | None) -> dict[str, np.ndarray]:
        """By name, six margins that just cover: alike, as a recipe's compare, of the smallest PTV, and away from an organ in a
        PTV no larger than that of margins alike.

        One shape of no margin at all where none is needed.

        Raises
        ------
        ConfigError : the largest margin does not cover.
        """
        alike = size_that_covers(self.spare, np.ones(6), self.largest_mm)
        if alike is None:
            raise ConfigError(
                f"margins: {self.largest_mm:g} mm all around do not reach a coverage of {100 * self.coverage:g} %; ask for "
                "less with --coverage, allow more with --largest, or look at the goals on the target and the errors"
            )
        found = {ISOTROPIC: alike}
        if not alike.any():
            return found
        if recipe_mm.max() > 0 and np.ptp(recipe_mm) > 0:
            found[VAN_HERK] = self._covering(recipe_mm)
        before_cc, gy = self.volume_cc(alike), self.wanted_gy / _PER_COVER
        start = min(found.values(), key=self.volume_cc)
        found[SMALLEST] = self._least(lambda m: self.volume_cc(m) / before_cc, [], start)
        if organ is not None:
            no_larger = [lambda m: 1 - self.volume_cc(m) / before_cc]
            found[away_from(organ)] = self._least(lambda m: self.excess_gy(m) / gy, no_larger, found[SMALLEST])
        return found

    def _least(self, cost: Cost, spares: list[Cost], start_mm: np.ndarray) -> np.ndarray:
        """Margins that cover and cost least; again among the courses that those found first cover least."""
        several_mm = [start_mm]
        for _ in range(_ROUNDS):
            among = self.narrowed(*several_mm)
            cover: Cost = partial(_spared_by, among)
            several_mm.append(least_of(cost, [cover, *spares], several_mm[-1], self.largest_mm))
        return self._covering(several_mm[-1])

    def _covering(self, shape_mm: np.ndarray) -> np.ndarray:
        """As large as just covers, or as the largest margin allows."""
        covering = size_that_covers(self.spare, shape_mm, self.largest_mm)
        return shape_mm * self.largest_mm / shape_mm.max() if covering is None else covering


def search_of(
    problem: Problem,
    plan: Plan,
    target: Target,
    *,
    organ: str | None,
    coverage: float,
    largest_mm: float,
    seed: int,
    executor: Executor,
) -> Search:
    """A search of one target's margins for the first strategy of a problem, with the edge of its plan and courses of a seed.

    Raises
    ------
    ConfigError : a target goal or an organ that cannot be searched for, or a dose that the plan does not have.
    """
    request, highest_gy = problem.requests[0], plan.planned[target.number].quality.max_gy
    ptv, planning_target = request.ptvs[target.number], problem.planning_targets[request][target.number]
    goals = [(goal, _part_of(goal)) for goal in target.wanted]
    wanted_gy = [wanted_dose_gy(goal, target) for goal, _ in goals]
    if max(wanted_gy) >= highest_gy:
        raise ConfigError(
            f"margins: {max(wanted_gy):g} Gy are wanted, but the highest dose of the plan is {highest_gy:.1f} Gy; ask "
            "for less in decision.target_goals"
        )
    edge = edge_of_dose(plan.dose, planning_target, ptv.margin_mm, wanted_gy[0], highest_gy)
    setting = problem.setting
    most = _MOST_VISITS // (setting.n_fractions * min(setting.n_instants, _INSTANTS))
    draws = Draws(seed, 0, int(np.clip(most, _LEAST_COURSES, _MOST_COURSES)))
    delivery = deliver_courses(problem, problem.strategies[0], draws)
    shift, weight = few_instants(delivery.motion(target.name), setting.n_fractions, _INSTANTS)
    if target.uncertainty.delineation is not None:
        drawn = np.random.default_rng(seed).standard_normal((len(shift), 1, 3))
        shift = shift + target.uncertainty.delineation.sd_mm * drawn
    path = np.array(ptv.target_path_mm, float)
    radius_mm = float(np.cbrt(3 * target.structure.volume_cc / CC_PER_MM3 / (4 * np.pi)))
    asked = tuple(
        Asked(Cloud.of_ball(edge, shift, weight, path, radius_mm, part), part, gy / wanted_gy[0])
        for (_, part), gy in zip(goals, wanted_gy, strict=True)
    )
    spared = () if organ is None else tuple(_spared(problem, plan, edge, delivery, organ, path, radius_mm))
    return Search(edge, wanted_gy[0], planning_target, asked, spared, coverage, largest_mm, partial(in_order, executor))


def _part_of(goal: Goal) -> float:
    part = part_percent(goal)
    if part is None:
        raise ConfigError(
            f"margins: {goal.text!r} is no goal that margins can be searched for; name dose goals on the target in "
            'decision.target_goals, such as "GTV D98% >= 95%" or "GTV Dmin >= 90%"'
        )
    return part


def limits_of(problem: Problem, organ: str) -> list[Goal]:
    """The limits of an organ that are doses to a volume in cc.

    Raises
    ------
    ConfigError : no such organ, or no such limit.
    """
    names = [s.name for s in problem.structures if s.role == "oar"]
    if organ not in names:
        raise ConfigError(f"--organ: the study measures no organ {organ!r}{did_you_mean(organ, names, 0.3)}")
    goals = [
        goal
        for goal in problem.goals
        if goal.metric.structure == organ and goal.is_upper and goal.metric.part_cc is not None
    ]
    goals = [goal for goal in goals if not goal.metric.is_biological]
    if not goals:
        raise ConfigError(
            f"--organ: no goal of the study limits a dose to a volume of {organ}; add one such as "
            f'"{organ} D0.035cc <= 35 Gy" to goals'
        )
    return goals


def _spared(
    problem: Problem, plan: Plan, edge: Edge, delivery: Delivery, organ: str, path: np.ndarray, radius_mm: float
) -> list[Spared]:
    """The limits of an organ with the cells that can be its hottest."""
    setting, config = problem.setting, problem.config
    motion = delivery.motion(organ).courses(slice(0, _COURSES_OF_ORGAN))
    shift, weight = few_instants(motion, setting.n_fractions, _INSTANTS)
    centre = setting.centre_mm[problem.targets[0].name]
    points = np.concatenate([patch.points_mm for patch in problem.patches[organ]])
    volume = np.concatenate([patch.volume_cc for patch in problem.patches[organ]])
    hottest = np.argsort(-plan.dose.at(points), kind="stable")
    found = []
    for goal in limits_of(problem, organ):
        part_cc = goal.metric.part_cc
        assert part_cc is not None
        enough = int(np.searchsorted(np.cumsum(volume[hottest]), _TIMES_HOT * part_cc)) + _MOST_CELLS // 2
        thinned = hottest[:enough][:: max(1, min(enough, len(hottest)) // _MOST_CELLS)]
        stands_for = min(enough, len(hottest)) / len(thinned)
        cloud = Cloud.of_points(
            edge, shift, weight, points[thinned] - centre, volume[thinned] * stands_for, path, radius_mm
        )
        probability = config.decision.goal_probability.get(goal.text, config.decision.organ_probability)
        limit_gy = goal.limit if goal.unit == "Gy" else goal.limit / 100 * config.prescription.dose_gy
        found.append(Spared(cloud, part_cc, limit_gy, probability))
    return found
