"""A study with its anatomy: what a worker needs to begin.

Lives here: preparation, and all that can be wrong with a study. Enters: `StudyConfig`. Leaves: `Problem`.
"""
