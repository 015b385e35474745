"""What a user types, and what a terminal shows.

Lives here: the command line, tables and progress, export, comparison of studies, commissioning.
Enters: arguments and files. Leaves: text, tables and files, and exit codes; other rooms import nothing from here.
"""
