"""Compiled kernels: loops over arrays, free of domain logic.

Lives here: sums over tiles and points, DVHs, cells, beams, apertures, splines, shapes, polygons, margins of points.
Enters: arrays in mm, Gy and cc. Leaves: arrays. Numba keeps what it compiled beside the source, else in the home folder, else
among temporary files.
"""

import getpass
import os
import tempfile
from pathlib import Path

from numba import config
from numba.core.caching import FunctionCache


def _own_temporary_folder() -> Path:
    """A folder of this user alone, the same one each time; compiled code of others is never loaded."""
    folder = Path(tempfile.gettempdir()) / f"simulator-kernels-{getpass.getuser()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if not hasattr(os, "getuid") or (state.st_uid == os.getuid() and not state.st_mode & 0o22 and folder.is_dir()):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="simulator-kernels-"))


def _find_a_place_for_compiled_kernels() -> None:
    """Give numba a folder where it would find none; processes that are started use it too."""
    try:
        FunctionCache(_find_a_place_for_compiled_kernels)
    except RuntimeError:
        config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(_own_temporary_folder())


_find_a_place_for_compiled_kernels()
