"""Planned doses.

Lives here: planning targets and their expansion by margins, plan models, imported doses, prescription, plan quality.
Enters: `Case`, margins in mm. Leaves: `Plan`, whose dose is known everywhere.
"""
