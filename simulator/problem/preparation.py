"""From a study to a problem ready to simulate: what can be wrong is found here, before any long work."""

import itertools
from functools import partial

from simulator.case.anatomy import Case
from simulator.case.cells import Patch
from simulator.case.structures import Structure, sample_structure, surface_points
from simulator.ground.once import Once
from simulator.ground.spec import CaseError, ConfigError
from simulator.metrics.biology import Biology
from simulator.metrics.contradictions import check_goals
from simulator.metrics.goals import Goal
from simulator.metrics.kinds import metrics_of_responses, parse_metric
from simulator.metrics.metric import SCALES, Metric
from simulator.problem.checks import (
    check_goal_probabilities,
    check_posteriors,
    check_sources,
    check_targets,
    require_structure,
    targets_chosen,
    wanted_goals,
)
from simulator.problem.inputs import case_key, digests_of_inputs
from simulator.problem.limits import notes_on_unplanned, plan_limits
from simulator.problem.margins import plan_request
from simulator.problem.problem import Problem
from simulator.problem.record import breathing_record
from simulator.problem.setting import notes_on_plan_of, setting_of
from simulator.problem.target import targets_of
from simulator.problem.weighed import weighed_goals
from simulator.strategy.margin import FixedMargin
from simulator.study_file.published import complete_biology, resolve_goals
from simulator.study_file.schema import StudyConfig

_TARGET_METRICS = ("D98%", "D95%", "D2%", "Dmean", "V95%")
_OAR_METRICS = ("D0.035cc", "Dmean")

# Points of a sweep that share a case share its anatomy.
_cases: Once[Case] = Once(2)
_samples: Once[Patch] = Once(100)


def prepare(config: StudyConfig) -> Problem:
    """Load the case and resolve goals, structures, strategies and plans.

    Raises
    ------
    ConfigError, CaseError : what is wrong with the study or with the patient data.
    """
    own, published = resolve_goals(config)
    source, max_points = case_key(config), config.numerics.max_points
    case = _cases.get(source, config.case.build)
    if config.targets:
        case = targets_chosen(case, list(config.targets))
    if not own and not published:
        raise ConfigError("goals: none given; name a library such as mediastinal-5fx or write goals")
    for goal in own:
        require_structure(case, goal)
    known = [g for g in published if g.metric.structure in case.structures]
    goals = tuple({g.text: g for g in (*own, *known)}.values())
    check_goals(own, config.prescription.dose_gy)
    check_goal_probabilities(config, goals)
    named = {*(g.metric.structure for g in goals), *itertools.chain(*config.biology.sections.values())}
    wanted = wanted_goals(config, case)
    no_tissue = config.plan.planning_volumes - {case.target, *case.others}
    structures = tuple(
        s for s in case.structures.values() if s.name in named or (s.role != "external" and s.name not in no_tissue)
    )
    for structure in structures:
        if structure.volume_cc <= 0:
            raise CaseError(f"structure {structure.name!r} of case {case.name!r} is empty; leave it out or contour it")
    check_targets(config)
    check_posteriors(config)
    check_sources(config, case)
    notes_on_plan = notes_on_plan_of(config, case)
    biology = complete_biology(config.biology, (*goals, *wanted))
    weighed_goals(config, goals, biology)
    for goal in (*goals, *wanted):
        goal.metric.check_volume(case.structures[goal.metric.structure].volume_cc)
    strategies = tuple(config.candidates())
    limits, unplanned = plan_limits(config, case, goals)
    record = breathing_record(config.uncertainty.respiration)
    targets = targets_of(config, case, source, wanted)
    setting = setting_of(config, case, targets, record)
    own_margins = {t.name: FixedMargin(margin_mm=t.stated.margin_mm) for t in targets if t.stated.margin_mm is not None}
    patches = {
        s.name: [
            _samples.get((source, max_points, s.name, s.role), partial(sample_structure, s, max_points=max_points))
        ]
        for s in structures
    }
    patches |= {t.name: [t.true_target.patch] for t in targets if t.true_target is not None}
    extreme = {g.metric.structure for g in (*goals, *wanted) if g.metric.needs_surface}
    return Problem(
        config=config,
        case=case,
        targets=targets,
        structures=structures,
        patches=patches,
        surfaces={s.name: surface_points(s) for s in structures if s.name in extreme},
        metrics={s.name: _metrics_of(s, (*goals, *wanted), biology) for s in structures},
        goals=goals,
        skipped_goals=tuple(g for g in published if g.metric.structure not in case.structures),
        strategies=strategies,
        requests=tuple(plan_request(setting, s, config.plan, limits, own_margins) for s in strategies),
        setting=setting,
        biology=biology,
        record=record,
        inputs=digests_of_inputs(config, case),
        notes_on_plan=(*notes_on_plan, *notes_on_unplanned(unplanned)),
    )


def _metrics_of(structure: Structure, goals: tuple[Goal, ...], biology: Biology) -> list[Metric]:
    usual = _TARGET_METRICS if structure.role == "target" else _OAR_METRICS
    metrics = [g.metric for g in goals if g.metric.structure == structure.name]
    scaled = [metric.at_scale(scale) for metric in metrics for scale in SCALES]
    metrics += [parse_metric(structure.name, m) for m in usual]
    metrics += metrics_of_responses(structure.name, biology.responses(structure.name))
    metrics += [found[0] for found in scaled if found is not None]
    return list({m.label: m for m in metrics if m.fits(structure.volume_cc)}.values())
