"""The study in words, for the report and for `simulator check`."""

import json
from collections.abc import Sequence

from simulator.ground.conventions import in_axes
from simulator.plan.model import PlanModelKind
from simulator.problem.problem import Problem
from simulator.problem.subject import subject_in_words
from simulator.strategy import Strategy
from simulator.study_file.published import published_tissues
from simulator.study_file.schema import StudyConfig

_LQ_SUPPORTED_GY, _LQ_ACCEPTABLE_GY = 10, 18


def courses_in_words(config: StudyConfig, n_courses: int) -> str:
    """How many courses, and drawn how.

    Parameters
    ----------
    n_courses : that are simulated, more than were asked for where the doubt about the errors needs more.
    """
    if config.precision is not None:
        return f"Up to {config.courses}, until every probability is known to ± {100 * config.precision:g} %,"
    if config.decide:
        return f"Up to {config.courses}, until its verdict is settled,"
    if n_courses > config.courses:
        return f"{n_courses} ({config.courses} asked for; so many tell what the doubt about the errors does)"
    return f"{n_courses}" + (" (16 scrambled Sobol' nets)" if config.sampling == "sobol" else "")


def study_in_words(problem: Problem, n_courses: int) -> str:
    """Paragraphs that say what is simulated, as a JSON list."""
    config = problem.config
    rx = config.prescription
    motions = dict.fromkeys(s.motion.describe() for s in problem.strategies)
    guidances = dict.fromkeys(s.guidance.describe() for s in problem.strategies)
    margins = dict.fromkeys(s.margin.label() for s in problem.strategies)
    courses = courses_in_words(config, n_courses)
    paragraphs = [
        f"{courses} whole treatment courses of {rx.dose_gy:g} Gy in {rx.fractions} fractions, prescribed to "
        f"the {rx.isodose_percent:g} % isodose, are simulated for every strategy ({len(problem.strategies)}); every "
        f"strategy meets the same virtual patients (seed {config.seed}).",
        subject_in_words(config),
        *config.uncertainty.describe(),
        *targets_in_words(problem),
        *observed_in_words(problem),
        *(f"Motion management, {text}." for text in motions),
        *(f"Image guidance, {text}." for text in guidances),
        config.session.describe() + ".",
        "Margins: " + ", ".join(margins) + ".",
        *(f"{sentence}." for sentence in plans_in_words(problem)),
    ]
    paragraphs += biology_in_words(problem)
    if problem.skipped_goals:
        skipped = dict.fromkeys(g.metric.structure for g in problem.skipped_goals)
        paragraphs.append(f"Published limits left out, as the case has no such structure: {', '.join(skipped)}.")
    return json.dumps(paragraphs, ensure_ascii=False)


def targets_in_words(problem: Problem) -> list[str]:
    """What several targets share, and what each has of its own; empty for one."""
    if len(problem.targets) == 1:
        return []
    first, *others = problem.targets
    names = ", ".join(target.name for target in problem.targets)
    shared = (
        "Setup, rotation, drift and the isocentre's error are shared; shifts against bone, registration and delineation are "
        "drawn for each."
    )
    sentences = [
        f"{len(problem.targets)} targets are treated in one session and about one isocentre: {names}. {shared} Motion "
        f"management acts on {first.name}, and organs that move with the target follow it."
    ]
    if problem.setting.isocentres:
        sentences = [
            f"{len(problem.targets)} targets are treated in one session, one after the other: {names}. Each has an isocentre "
            f"of its own, an image, a match, a couch position and motion management, and meets the other plans "
            f"where those leave it. {shared} Organs that move with the target follow {first.name}."
        ]
    for target in problem.targets:
        stated, rx = target.stated, target.prescription
        own = [f"{rx.dose_gy:g} Gy on the {rx.isodose_percent:g} % isodose"]
        own += [f"margin {in_axes(stated.margin_mm)} mm under every strategy"] if stated.margin_mm is not None else []
        own += [f"breathing {in_axes(stated.amplitude_mm)} mm peak to peak"] if stated.amplitude_mm is not None else []
        if target in others and target.uncertainty.baseline is not None:
            own.append(f"shifts against bone correlated by {stated.baseline_correlation:g} with those of {first.name}")
        sources = (stated.baseline, stated.registration, stated.delineation)
        own += [source.describe().rstrip(".") for source in sources if source is not None]
        sentences.append(f"{target.name}: {'; '.join(own)}.")
    return sentences


def observed_in_words(problem: Problem) -> list[str]:
    """What is known from the fractions that lie behind; empty without any."""
    treated = problem.setting.treated
    if treated is None or problem.law is None:
        return []
    remark = treated.remark(problem.setting.n_fractions)
    return [remark, treated.describe(), problem.law.describe()]


def plans_in_words(problem: Problem) -> list[str]:
    """Where plans come from that are not made here, and for which strategies they are the same; empty for others."""
    of_plan: dict[PlanModelKind, list[Strategy]] = {}
    for strategy, request in zip(problem.strategies, problem.requests, strict=True):
        of_plan.setdefault(request.model, []).append(strategy)
    return [s for model, strategies in of_plan.items() for s in model.describe(problem.case, strategies)]


def biology_in_words(problem: Problem) -> list[str]:
    """What is assumed where fractions are counted; empty without biological metrics."""
    if not any(m.is_biological for metrics in problem.metrics.values() for m in metrics):
        return []
    given, rx = problem.config.biology, problem.config.prescription
    sentences = [
        "BED and EQD2 are summed point by point and fraction by fraction with the linear-quadratic model, which is "
        f"reasonably well validated up to about {_LQ_SUPPORTED_GY} Gy per fraction and reasonable to about "
        f"{_LQ_ACCEPTABLE_GY} Gy (Brenner 2008, PMC2750078); the prescription is {rx.dose_gy / rx.fractions:.3g} Gy per "
        "fraction, and the dose inside the target may be higher."
    ]
    for section, models in problem.biology.sections.items():
        for name, spec in models.items():
            origin = ""
            if spec.tissue is not None:
                row, own = published_tissues()[spec.tissue], given.sections[section].get(name)
                keys = [k for k in row.parameters if hasattr(spec, k) and (own is None or getattr(own, k) is None)]
                unchecked = "" if row.checked else ", CHECK THE PUBLICATION"
                origin = f"; {', '.join(keys)} from {row.source}{unchecked} ({row.note})" if keys else ""
            sentences.append(f"{spec.describe(name)}{origin}.")
    if problem.biology.ntcp:
        sentences.append(
            "Complication parameters are seldom derived from such schedules: NTCP compares strategies, it predicts little."
        )
    return sentences


def beyond_grid_in_words(structures: Sequence[str], unknown: Sequence[str], known_to: float) -> str:
    """What is known of structures that reach beyond the dose grid.

    Parameters
    ----------
    unknown : metrics and goals that are left out. known_to : what the others are known to, as a share.
    """
    left_out = f"; unknown, as the dose outside decides it, and left out: {', '.join(unknown)}" if unknown else ""
    return (
        f"{', '.join(structures)}: in part, or in some courses, outside the dose grid; what is reported of them holds within "
        f"{100 * known_to:g} % of the prescription or the volume{left_out}"
    )
