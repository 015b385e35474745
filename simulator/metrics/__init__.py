"""What is measured, and what is asked for.

Lives here: the kinds of metric, goals, biology. Enters: doses (course, point) and volumes. Leaves: a number for each course.
"""
