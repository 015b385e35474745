"""What a user types, and what a terminal shows.

Lives here: the command line, tables and progress, export, comparison of studies, commissioning. Nobody imports from here.
"""
