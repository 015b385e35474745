"""One strategy simulated: draw, deliver, accumulate, measure.

Lives here: its plan, its courses, one of them looked at, how finely structures are divided, which points decide,
what moved anatomy makes of the dose.
Enters: `Problem`, a strategy. Leaves: metrics of each course, DVH counts and visits; all about one course.
"""
