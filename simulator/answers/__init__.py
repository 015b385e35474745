"""What follows from the courses.

Lives here: joint probabilities, comparison, required margins and causes, decision, uncertainty budget, rare events,
courses looked at, sweeps.
Enters: metrics of each course. Leaves: the groups of the results.
"""
