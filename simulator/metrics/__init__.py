"""Numbers of a dose distribution, and the goals that are set for them.

Who lives here: `Metric` and its kinds, one class each (`dvh_points`, `dose_summaries`, `responses`), all of them in
`kinds.KINDS`; goals and what contradicts them; response models and published limits.
What enters: doses of the points of one structure in many courses, and what the points stand for (`evaluate`). What leaves: a
value for each course and metric, and answers to what other rooms have to know of a metric. Nobody asks for a kind by name.
"""
