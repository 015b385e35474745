"""Whom a study is about, and what that makes of its spreads."""

from collections.abc import Iterator

from simulator.study_file.schema import StudyConfig

_FROM_DAY_TO_DAY = 0.2
"""Usual variation of amplitude and volume between days: one measurement knows a patient's mean to within it (judgement)."""

_WORDS = {
    "population": "The study is about a population: each course is another patient who has this anatomy, and spreads between "
    "courses are those between patients.",
    "patient": "The study is about one patient: each course is what may happen to him. Spreads of breathing and of volumes "
    "between courses are how well his own are known; what is not known of "
    "him (setup, shifts of target and organs, drawing, registration) is drawn from the clinic's population.",
}


def subject_in_words(config: StudyConfig) -> str:
    """Whom the study is about, for the report."""
    return _WORDS[config.subject]


def notes_on_subject(config: StudyConfig) -> Iterator[str]:
    """Spreads that look like those of a population in a study of one patient, or the other way round.

    For a patient, the spread between courses of his amplitude or of a volume is how far the day of the measurement may be
    from his mean: the spread between his days, `fraction_cv`, or less. One above that, and above 0.2, is said to look like
    the spread between patients.
    """
    breathing = config.uncertainty.respiration
    if config.subject == "population":
        if breathing is not None and breathing.course_cv and not hasattr(config.case, "phantom"):
            yield (
                "uncertainty.respiration.course_cv is the spread between patients, and the case is one patient whose amplitude "
                "was measured: set it to 0 unless that measurement is uncertain, and say `subject: patient`"
            )
        return
    spreads = {}
    if breathing is not None:
        spreads["respiration.course_cv"] = ("amplitude", breathing.course_cv, "fraction_cv", breathing.fraction_cv)
    for name, organ in config.uncertainty.organs.items():
        own = ("volume", organ.filling_course_cv, "filling_fraction_cv", organ.filling_fraction_cv)
        spreads[f"organs.{name}.filling_course_cv"] = own
    for key, (what, of_courses, days, of_fractions) in spreads.items():
        if of_courses > max(of_fractions, _FROM_DAY_TO_DAY):
            yield (
                f"uncertainty.{key} {of_courses:g} looks like the spread between patients, and `subject: patient` makes it how "
                f"well this patient's own {what} is known: one measurement of his leaves about {days} ({of_fractions:g}); keep "
                "it only where nothing of his was measured"
            )
