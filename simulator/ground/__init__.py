"""What every room stands on.

Lives here: axes, signs and units (conventions), parameter objects and the errors that a user reads (spec), users' files read
and results written whole (reading, files), things made once (once), workers (parallel), how objects introduce themselves
(readable).
Enters: Python, processors and the disk. Leaves: the words and habits of all rooms.
"""
