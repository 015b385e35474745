"""Courses: what happens to a patient, and what a strategy makes of it.

Lives here: random streams, quasi-random and widened draws, `draw_courses`, what images show of them and couch corrections make
of that, and `deliver`, the only place where margin, motion management and guidance meet. Enters: sources of error, a strategy.
Leaves: displacements relative to the beam.
"""
