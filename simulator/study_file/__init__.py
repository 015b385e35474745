"""A study on paper.

Lives here: the schema, checked YAML, sweeps, published libraries, starter files. Enters: text. Leaves: `StudyConfig`, or a
message with file, line and key.
"""
