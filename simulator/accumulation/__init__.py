"""The dose of tissue that moves.

Lives here: points, lattices and tiles of a structure in a planned dose, dose maps, the true target under delineation error.
Enters: a planned dose, displacements. Leaves: doses (course, point) in Gy of whole courses.
"""
