"""What is kept of a study.

Lives here: the table of result variables, results.nc, summary.csv, and what is asked of results again and again.
Enters: groups of arrays. Leaves: an `xarray.DataTree`, and files.
"""
