"""Memory of this process."""

import ctypes
import sys
from contextlib import suppress


def peak_mb() -> float:
    """Largest memory of this process so far, in MB; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def give_back() -> None:
    """Return what is free to the system, where glibc keeps it: after arrays came and went, some 150 MB in each thread."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
