"""The study in words, for the report and for `simulator check`."""

import json

from simulator.prepare import Problem


def study_in_words(problem: Problem) -> str:
    """Paragraphs that say what is simulated, as a JSON list."""
    config = problem.config
    rx = config.prescription
    motions = dict.fromkeys(s.motion.describe() for s in problem.strategies)
    guidances = dict.fromkeys(s.guidance.describe() for s in problem.strategies)
    margins = dict.fromkeys(s.margin.label() for s in problem.strategies)
    paragraphs = [
        f"{config.courses} whole treatment courses of {rx.dose_gy:g} Gy in {rx.fractions} fractions, prescribed to the "
        f"{rx.isodose_percent:g} % isodose, are simulated for every strategy ({len(problem.strategies)}); every "
        f"strategy meets the same virtual patients (seed {config.seed}).",
        *config.uncertainty.describe(),
        *(f"Motion management, {text}." for text in motions),
        *(f"Image guidance, {text}." for text in guidances),
        config.session.describe() + ".",
        "Margins: " + ", ".join(margins) + ".",
    ]
    if problem.skipped_goals:
        skipped = dict.fromkeys(g.metric.structure for g in problem.skipped_goals)
        paragraphs.append(f"Published limits left out, as the case has no such structure: {', '.join(skipped)}.")
    return json.dumps(paragraphs, ensure_ascii=False)
