"""From a study to a problem ready to simulate: what can be wrong is found here, before any long work."""

import itertools
from functools import partial

from simulator.accumulation.true_target import TrueTarget
from simulator.case.anatomy import Case
from simulator.case.cells import Patch
from simulator.case.structures import Structure, sample_structure, surface_points
from simulator.metrics.biology import Biology
from simulator.metrics.contradictions import check_goals
from simulator.metrics.goals import Goal
from simulator.metrics.kinds import metrics_of_responses, parse_metric
from simulator.metrics.metric import Metric
from simulator.once import Once
from simulator.problem.checks import check_sources, require_structure, wanted_goals
from simulator.problem.inputs import case_key, digests_of_inputs
from simulator.problem.limits import notes_on_unplanned, plan_limits
from simulator.problem.margins import plan_request
from simulator.problem.problem import Problem
from simulator.problem.record import breathing_record
from simulator.problem.setting import notes_on_plan_of, setting_of
from simulator.spec import CaseError, ConfigError
from simulator.study_file.published import complete_biology, resolve_goals
from simulator.study_file.schema import StudyConfig

_TARGET_METRICS = ("D98%", "D95%", "D2%", "Dmean", "V95%")
_OAR_METRICS = ("D0.035cc", "Dmean")

# Points of a sweep that share a case share its anatomy.
_cases: Once[Case] = Once(2)
_samples: Once[Patch] = Once(100)
_true_targets: Once[TrueTarget] = Once(4)


def prepare(config: StudyConfig) -> Problem:
    """Load the case and resolve goals, structures, strategies and plans.

    Raises
    ------
    ConfigError, CaseError : what is wrong with the study or with the patient data.
    """
    own, published = resolve_goals(config)
    source, max_points = case_key(config), config.numerics.max_points
    case = _cases.get(source, config.case.build)
    if not own and not published:
        raise ConfigError("goals: none given; name a library such as mediastinal-5fx or write goals")
    for goal in own:
        require_structure(case, goal)
    known = [g for g in published if g.metric.structure in case.structures]
    goals = tuple({g.text: g for g in (*own, *known)}.values())
    check_goals(own, config.prescription.dose_gy)
    named = {*(g.metric.structure for g in goals), *itertools.chain(*config.biology.sections.values())}
    wanted = wanted_goals(config, case)
    structures = tuple(s for s in case.structures.values() if s.role != "external" or s.name in named)
    for structure in structures:
        if structure.volume_cc <= 0:
            raise CaseError(f"structure {structure.name!r} of case {case.name!r} is empty; leave it out or contour it")
    check_sources(config, case)
    notes_on_plan = notes_on_plan_of(config, case)
    biology = complete_biology(config.biology, (*goals, *wanted))
    for goal in (*goals, *wanted):
        goal.metric.check_volume(case.structures[goal.metric.structure].volume_cc)
    strategies = tuple(config.candidates())
    limits, unplanned = plan_limits(config, case, goals)
    record = breathing_record(config.uncertainty.respiration)
    setting = setting_of(config, case, record)
    true_target, delineation = None, config.uncertainty.delineation
    patches = {
        s.name: [
            _samples.get((source, max_points, s.name), partial(sample_structure, s, case.gtv, max_points=max_points))
        ]
        for s in structures
    }
    if delineation is not None:
        true_target = _true_targets.get(
            (source, max_points, delineation), lambda: TrueTarget.around(case.gtv, delineation, max_points)
        )
        patches[case.target] = [true_target.patch]
    extreme = {g.metric.structure for g in (*goals, *wanted) if g.metric.needs_surface}
    return Problem(
        config=config,
        case=case,
        structures=structures,
        patches=patches,
        surfaces={s.name: surface_points(s) for s in structures if s.name in extreme},
        metrics={s.name: _metrics_of(s, (*goals, *wanted), biology) for s in structures},
        goals=goals,
        wanted=wanted,
        skipped_goals=tuple(g for g in published if g.metric.structure not in case.structures),
        strategies=strategies,
        requests=tuple(plan_request(setting, s, limits) for s in strategies),
        setting=setting,
        true_target=true_target,
        biology=biology,
        record=record,
        inputs=digests_of_inputs(config, case),
        notes_on_plan=(*notes_on_plan, *notes_on_unplanned(unplanned)),
    )


def _metrics_of(structure: Structure, goals: tuple[Goal, ...], biology: Biology) -> list[Metric]:
    usual = _TARGET_METRICS if structure.role == "target" else _OAR_METRICS
    metrics = [g.metric for g in goals if g.metric.structure == structure.name]
    metrics += [parse_metric(structure.name, m) for m in usual]
    metrics += metrics_of_responses(structure.name, biology.responses(structure.name))
    return list({m.label: m for m in metrics if m.fits(structure.volume_cc)}.values())
