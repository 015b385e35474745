"""Plain statistics of many courses.

Lives here: probabilities with intervals, bands, comparison, required margins, sensitivity, stopping rules.
Enters: arrays. Leaves: arrays; nothing here knows of patients or strategies.
"""
