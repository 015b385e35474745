"""What each strategy asks of a plan: the errors that its margin covers, and what the margin is added to."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from simulator.ground.spec import ConfigError
from simulator.plan.model import PlanModelKind
from simulator.plan.sparing import Limit, Sparing
from simulator.plan.targets import Expansion
from simulator.sampling.courses import Setting
from simulator.strategy import Strategy
from simulator.strategy.margin import Margin, Spread

_STRAIGHT_MM = 0.02


_LARGEST_MARGIN_MM = 100.0


@dataclass(frozen=True)
class PtvRequest:
    """What the PTV of one target depends on.

    Parameters
    ----------
    margin_mm : towards right, left, anterior, posterior, inferior and superior.
    target_path_mm : positions whose union is the planning target, where the plan's model names none that was drawn.
    """

    margin_mm: tuple[float, float, float, float, float, float]
    target_path_mm: tuple[tuple[float, float, float], ...]
    sparing: Sparing = field(default_factory=Sparing)

    @property
    def expansion(self) -> Expansion:
        """The margin as distances in the six directions."""
        negative, positive = np.array(self.margin_mm).reshape(3, 2).T
        return Expansion(negative, positive)


@dataclass(frozen=True)
class PlanRequest:
    """What a plan depends on: strategies that share a request share the plan.

    Parameters
    ----------
    model : what of the plan's model is the candidate's own.
    ptvs : by target.
    sparing : the limits of organs that the plan keeps, and their planning-risk volumes.
    """

    model: PlanModelKind
    ptvs: tuple[PtvRequest, ...]
    sparing: Sparing = field(default_factory=Sparing)


def planned_alike(requests: Sequence[PlanRequest]) -> list[list[PlanRequest]]:
    """Different plans in groups that differ in margins alone, so that they may be made together."""
    groups: dict[Hashable, list[PlanRequest]] = {}
    for request in dict.fromkeys(requests):
        paths_mm = tuple(ptv.target_path_mm for ptv in request.ptvs)
        groups.setdefault((request.model, paths_mm), []).append(request)
    return list(groups.values())


def margin_spread(setting: Setting, strategy: Strategy, target: str) -> Spread:
    """The errors of a target that a margin recipe has to cover under a strategy's motion management and guidance."""
    setting = setting.about(target)
    n, errors = setting.n_fractions, setting.targets[target]
    patient = Spread(*errors.patient_sd_mm(), n)
    internal = Spread(*errors.target_sd_mm(), n)
    managed = strategy.motion.spread(setting.planned, target)
    unseen = Spread(*errors.unseen_sd_mm(), n)
    left = strategy.guidance.residual(patient, internal)
    if len(setting.targets) > 1:
        left = left.plus(_away_from_the_match(setting, strategy, target))
    spread = left.plus(Spread(managed.systematic_mm, managed.random_mm, n)).plus(unseen)
    return replace(spread, penumbra_sd_mm=setting.penumbra_sd_mm)


def _away_from_the_match(setting: Setting, strategy: Strategy, target: str) -> Spread:
    """What several targets add to the errors of one: how it shifts against what is matched, and how rotation moves it.

    Rotations move it by its arm to the isocentre, or to the weighted centre of the targets that a match puts back. Shifts of
    two targets go together as each goes with the first.
    """
    guidance, errors = strategy.guidance, setting.uncertainty.setup
    names = list(setting.targets)
    arm_mm = setting.centre_mm[target] - setting.isocentre_mm
    systematic_mm, random_mm = np.zeros(3), np.zeros(3)
    if guidance.matches_target:
        weights = guidance.match_weights or {setting.lead: 1.0}
        weight = np.array([weights.get(name, 0.0) for name in names]) / sum(weights.values())
        arm_mm = setting.centre_mm[target] - weight @ np.array([setting.centre_mm[name] for name in names])
        with_first = np.array([1.0, *(setting.baseline_correlation.get(name, 0.0) for name in names[1:])])
        together = np.outer(with_first, with_first)
        np.fill_diagonal(together, 1.0)
        apart = (np.array(names) == target) - weight
        spreads = np.array([setting.targets[name].target_sd_mm() for name in names])
        systematic_mm, random_mm = (
            np.sqrt(np.einsum("i,j,ij,ia,ja->a", apart, apart, together, sd, sd)) for sd in np.swapaxes(spreads, 0, 1)
        )
    spread = Spread(systematic_mm, random_mm, setting.n_fractions)
    if (machine := setting.uncertainty.isocentre) is not None:
        from_isocentre_mm = setting.centre_mm[target] - setting.isocentre_mm
        turned_mm = _turned_mm(from_isocentre_mm, np.array(machine.systematic_deg, float))
        spread = spread.plus(Spread(turned_mm, np.zeros(3), setting.n_fractions))
    if errors is None or not errors.rotates:
        return spread
    of_course, of_fraction = (np.array(deg, float) for deg in (errors.systematic_deg, errors.random_deg))
    if guidance.corrects_rotation:
        of_course, of_fraction = np.zeros(3), guidance.rotation_left_deg(np.ones((1, 1, 3)), np.ones((1, 1, 3)))[0, 0]
    return spread.plus(Spread(_turned_mm(arm_mm, of_course), _turned_mm(arm_mm, of_fraction), setting.n_fractions))


def _turned_mm(arm_mm: np.ndarray, deg: np.ndarray) -> np.ndarray:
    """SD per axis of a point at an arm that turns by small angles about the axes, one SD each."""
    (x, y, z), (a, b, c) = arm_mm, np.radians(deg)
    return np.array([np.hypot(b * z, c * y), np.hypot(c * x, a * z), np.hypot(a * y, b * x)])


def plan_request(
    setting: Setting,
    strategy: Strategy,
    model: PlanModelKind,
    limits: Sequence[Limit] = (),
    own_margins: Mapping[str, Margin] = MappingProxyType({}),
) -> PlanRequest:
    """What a strategy asks of a plan that keeps some limits, of structures where they were imaged.

    Parameters
    ----------
    own_margins : by target, margins that hold whatever the strategy's.

    Raises
    ------
    ConfigError : a margin beyond any clinic, or none or several plans of the model fit the strategy.
    """
    ptvs = tuple(
        _ptv_request(
            setting,
            strategy.model_copy(update={"margin": own_margins.get(target) or strategy.margin.of(target)}),
            target,
        )
        for target in setting.targets
    )
    sparing = Sparing(tuple(_where_planned(setting, strategy, limit) for limit in limits), strategy.prv_mm)
    return PlanRequest(
        model.of(strategy, dict(zip(setting.targets, (ptv.expansion for ptv in ptvs), strict=True))), ptvs, sparing
    )


def _ptv_request(setting: Setting, strategy: Strategy, target: str) -> PtvRequest:
    margin = strategy.margin.directions(margin_spread(setting, strategy, target))
    if not np.all((margin >= 0) & (margin <= _LARGEST_MARGIN_MM)):
        raise ConfigError(
            f"strategy {strategy.label()!r}: margins of {np.round(margin, 1).tolist()} mm (LR, AP, SI, both ways) do not lie "
            f"within 0-{_LARGEST_MARGIN_MM:g} mm; correct the errors or write the margin out"
        )
    right, left_mm, anterior, posterior, inferior, superior = (float(m) for m in np.round(margin, 3).ravel())
    path = _ends(strategy.motion.path_mm(setting.planned, target))
    return PtvRequest(
        (right, left_mm, anterior, posterior, inferior, superior),
        tuple((float(x), float(y), float(z)) for x, y, z in path),
    )


def _where_planned(setting: Setting, strategy: Strategy, limit: Limit) -> Limit:
    """A limit of a structure where the strategy's motion management holds it."""
    x, y, z = (float(mm) for mm in np.round(strategy.motion.offset_mm(setting.planned, limit.structure), 3) + 0.0)
    return replace(limit, offset_mm=(x, y, z))


def _ends(path_mm: np.ndarray) -> np.ndarray:
    """A path without the inner points of a straight line, to a hundredth of a mm."""
    path = np.round(path_mm, 2) + 0.0
    along = path - path.mean(axis=0)
    _, size, axes = np.linalg.svd(along, full_matrices=False)
    if len(size) > 1 and size[1] > _STRAIGHT_MM * np.sqrt(len(path)):
        return np.concatenate([path, path[:1]])
    place = along @ axes[0]
    return np.unique(path[[int(np.argmin(place)), int(np.argmax(place))]], axis=0)
