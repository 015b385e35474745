"""Memory of this process."""

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Largest memory of this process so far, in MB; NaN where the system does not tell.

    Linux tells it apart from that of the process which began this one; `getrusage` does not.
    """
    if _STATUS.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())):
        return round(int(found.group(1)) / 1e3, 1)
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
