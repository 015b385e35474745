"""How far the hot kernels are from the limits of the machine, all measured in this run on one thread.

Run it from the root of the repository:  python -m benchmarks.limits
"""

import functools
import time
from collections.abc import Callable

import numpy as np
from numba import njit

from benchmarks.workloads import SEED, workload
from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.reach import Reach
from simulator.kernels.dvh import cumulative_dvh, dose_at_volumes, mean_dose, volume_at_doses
from simulator.kernels.tiles import volumes_within
from simulator.kernels.vectors import LANES, TILES, sum_tiles

_REPEATS, _COURSES = 15, 32


@njit(cache=True, nogil=True)
def _sum_in_registers(values, start, base, factor, place, result, repeats):
    """Multiply-adds on values that never leave the first-level cache."""
    for _ in range(repeats):
        sum_tiles(values, start, base, factor, base.shape[0], np.int64(0), place, result)


@njit(cache=True, nogil=True, fastmath=True)
def _read(values):
    total = np.float32(0.0)
    for i in range(values.shape[0]):
        total += values[i]
    return total


def seconds_of(work: Callable[[], object]) -> float:
    """Least processor time of several runs."""
    work()
    found = []
    for _ in range(_REPEATS):
        begin = time.thread_time()
        work()
        found.append(time.thread_time() - begin)
    return min(found)


def peak_gflops() -> float:
    """Multiply-adds (two operations each) from the first-level cache, aligned."""
    room = np.zeros(8 * LANES * TILES + 64, np.float32)
    values = room[-room.ctypes.data // 4 % 16 :][: 4 * LANES * TILES]
    start, base = LANES * np.arange(TILES), np.arange(64) % 4 * LANES * 2
    factor, result, repeats = np.ones(64, np.float32), np.empty(LANES * (TILES + 1), np.float32), 20_000
    seconds = seconds_of(lambda: _sum_in_registers(values, start, base, factor, start, result, repeats))
    return 2 * LANES * TILES * len(base) * repeats / seconds / 1e9


def bandwidth_gb_s(megabytes: float) -> float:
    """Reading a row of that size again and again."""
    values = np.ones(int(megabytes * 2**18), np.float32)
    repeats = max(1, int(400 / megabytes))
    return repeats * values.nbytes / seconds_of(lambda: [_read(values) for _ in range(repeats)]) / 1e9


def main() -> None:
    """Print the limits and one table."""
    peak, near, far = peak_gflops(), bandwidth_gb_s(0.25), bandwidth_gb_s(512)
    print(f"Multiply-adds: {peak:.0f} GFLOP/s. Reading: {near:.0f} GB/s from the cache, {far:.0f} GB/s from memory.\n")
    print("| kernel | rate | share of the limit |\n|---|---|---|")
    work = workload("W1")
    motion = work.motions(0, _COURSES)["Liver"]
    patch = work.patches["Liver"]
    points = LatticePoints(work.dose, patch, Reach.of(motion), 1, unblur=False)
    gy = points.accumulate(motion)
    terms = 8 * motion.weight.shape[1]
    rate = 2 * terms * gy.size / seconds_of(lambda: points.accumulate(motion)) / 1e9
    print(f"| sums over the dose lattice | {rate:.0f} GFLOP/s | {100 * rate / peak:.0f} % of arithmetic |")
    rng = np.random.default_rng(SEED)
    basis = rng.normal(size=(36, 18_000)).astype(np.float32)
    factor, inside = rng.normal(size=(_COURSES, 36)).astype(np.float32), np.empty((_COURSES, 18_000))
    distance, (mean, sd, farthest, per_mm) = np.zeros(18_000, np.float32), np.array([0, 1.5, 5, 2], np.float32)
    within = functools.partial(volumes_within, basis, factor, mean, sd, farthest, distance, per_mm, 1.0, inside)
    rate = 2 * 36 * inside.size / seconds_of(within) / 1e9
    print(f"| surface of the true target | {rate:.0f} GFLOP/s | {100 * rate / peak:.0f} % of arithmetic |")
    volume, wanted = np.atleast_2d(patch.volume_cc), np.array([[1.0]])
    kernels: dict[str, tuple[Callable[[], object], int]] = {
        "mean dose": (lambda: mean_dose(gy, volume), 12),
        "volume above a dose": (lambda: volume_at_doses(gy, volume, np.array([20.0])), 12),
        "dose to the hottest 1 cc": (lambda: dose_at_volumes(gy, volume, wanted), 4),
        "cumulative DVH": (lambda: cumulative_dvh(gy, volume, 0.35, 250), 12),
    }
    for name, (kernel, bytes_a_point) in kernels.items():
        rate = bytes_a_point * gy.size / seconds_of(kernel) / 1e9
        print(f"| {name} | {rate:.1f} GB/s | {100 * rate / near:.0f} % of reading from the cache |")


if __name__ == "__main__":
    main()
