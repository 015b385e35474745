"""What a study gives a weight to: excesses beyond goals, and probabilities of responses."""

from simulator.ground.spec import ConfigError, did_you_mean
from simulator.metrics.biology import Biology
from simulator.metrics.goals import Goal
from simulator.metrics.kinds import metrics_of_responses
from simulator.study_file.schema import StudyConfig


def weighed_goals(config: StudyConfig, goals: tuple[Goal, ...], biology: Biology) -> dict[Goal, float]:
    """What has a weight, as goals: those of the study, and responses as TCP >= 100 % or NTCP <= 0 %.

    Raises
    ------
    ConfigError : a name that is neither a goal nor a response of the study.
    """
    known = {goal.text: goal for goal in (*_responses(biology), *goals)}
    for name in config.decision.weights:
        if name not in known:
            raise ConfigError(
                f"decision.weights: {name!r} is neither a goal of this study nor a TCP or NTCP of its biology; `simulator "
                f"check` lists the goals{did_you_mean(name, known)}"
            )
    return {known[name]: weight for name, weight in config.decision.weights.items()}


def _responses(biology: Biology) -> list[Goal]:
    """The best of every response as a goal, named by its metric."""
    metrics = [
        metric
        for section, models in biology.sections.items()
        for structure in models
        for metric in metrics_of_responses(structure, (section,))
    ]
    is_harm = [metric.without_target(0.0) > 0 for metric in metrics]
    return [
        Goal(metric.label, metric, "<=" if harm else ">=", 0.0 if harm else 100.0, "%")
        for metric, harm in zip(metrics, is_harm, strict=True)
    ]
