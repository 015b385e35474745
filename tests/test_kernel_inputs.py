"""No kernel reads or writes outside its arrays, whatever it is given: here also with bounds checked and compilation off."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from simulator import kernels
from simulator.kernels import (
    beams,
    dvh,
    edges,
    plain,
    points,
    polygons,
    radiobiology,
    shapes,
    splines,
    tiles,
    vectors,
    visits,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ODD = (np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0)
N_POINTS = (0, 1, 5, 63, 64, 65, 300)
MODE = "KERNELS_TESTED_IN"


def doses(n_points, kind, n_courses=3):
    """Doses of all kinds, float32 (course, point)."""
    gy = np.random.default_rng(n_points).uniform(0, 60, (n_courses, n_points)).astype(np.float32)
    if kind in ("zero", "equal"):
        gy[:] = 0.0 if kind == "zero" else 41.5
    elif kind == "tiny":
        gy *= np.float32(1e-44)
    elif kind != "usual":
        gy[1:, ::2] = kind
        gy[2:] = kind
    return gy


@pytest.mark.parametrize("kind", ["usual", "zero", "equal", "tiny", *ODD[:5]], ids=str)
@pytest.mark.parametrize("n_points", N_POINTS)
@pytest.mark.parametrize("volumes", ["all", "none", "some courses none", "one row", "nan"])
def test_dose_volume_statistics_of_anything(n_points, kind, volumes):
    gy = doses(n_points, kind)
    cc = np.random.default_rng(1).uniform(0.1, 1, gy.shape)
    if volumes == "none":
        cc[:] = 0
    elif volumes == "some courses none":
        cc[1:] = 0
        cc[0, ::3] = 0
    elif volumes == "nan":
        cc[0] = np.nan
    cc = cc[:1] if volumes == "one row" else cc
    total = cc.sum(axis=1, keepdims=True)
    wanted = np.concatenate(
        [total * [[-1.0, 0.0, 0.02, 0.5, 0.98, 1.0, 1.5, 1e3]], np.broadcast_to(ODD, (len(cc), 6))], axis=1
    )
    at_volume = dvh.dose_at_volumes(gy, cc, wanted)
    kept = dvh.without_empty_points(gy[: len(cc)], cc)
    dvh.dose_at_volumes(*kept, wanted)
    limits = dvh.extremes(gy, cc)
    above = dvh.volume_at_doses(gy, cc, np.array([*ODD, 20.0]))
    curve = dvh.cumulative_dvh(gy, cc, 0.5, 40)
    counts = np.zeros((40, 501), np.uint32)
    dvh.count_levels(curve, counts)
    dvh.count_levels(np.full((1, 40), np.nan), counts)
    dvh.count_levels(np.array([[-5.0, 105.0, *([1e9] * 38)]]), counts)
    assert counts.sum() == 40 * (len(curve) + 2)
    means = dvh.mean_dose(gy, cc), *(dvh.generalised_mean(gy, cc, a) for a in (1.0, -1000.0, 1000.0, 8.0))
    radiobiology.surviving_volume(gy, cc)
    if kind in ("usual", "zero", "equal", "tiny") and volumes != "nan":
        empty = np.broadcast_to(total[:, 0] == 0, len(gy))
        for values in (at_volume, curve, np.stack(means, axis=1), above):
            assert np.isfinite(values).all()
            assert not values[empty].any(), "no volume, no dose"
        assert np.array_equal(limits[empty], np.broadcast_to([np.inf, -np.inf], (empty.sum(), 2)))
        if n_points and not empty.any():
            lowest, highest = gy.min(axis=1, keepdims=True), gy.max(axis=1, keepdims=True)
            assert np.all((at_volume >= lowest - 1e-6) & (at_volume <= highest + 1e-6)), (
                "beyond the volume: an extreme dose"
            )


def shifts(value, k=3):
    shift = np.zeros((2, k, 3))
    shift[:, :, 1] = value
    return shift


@pytest.mark.parametrize(("value", "k"), [*product((np.nan, np.inf, -np.inf, 1e30, 1e7), (3,)), (0.0, 0)])
def test_displacements_without_a_place_are_refused(value, k):
    shift, weight = shifts(value, k), np.full((2, k), 1 / max(k, 1))
    with pytest.raises(ValueError, match="displacement"):
        visits.enough_scratch(np.zeros(0), shift[0])
    with pytest.raises(ValueError, match="displacement"):
        visits.count_visits(shift, weight, np.zeros(3, np.int64), 2.0**40, np.zeros((3, 3, 3), np.int64))
    with pytest.raises(ValueError, match="displacement"):
        dose_of_tiles(shift, weight)


@pytest.mark.parametrize("value", [-3.0, 40.0, -1000.0])
def test_displacements_beyond_the_lattice_are_refused(value):
    shift, weight = shifts(value), np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match="outside the box of visits"):
        visits.count_visits(shift, weight, np.zeros(3, np.int64), 2.0**40, np.zeros((2, 2, 2), np.int64))
    if abs(value) > 10:
        with pytest.raises(ValueError, match="out of its lattice"):
            dose_of_tiles(shift, weight)
    with pytest.raises(ValueError, match="too little scratch"):
        visits.merge_visits(
            shift[0], weight[0], (4, 4, 4), np.int64(1), np.zeros(1), np.zeros(24, np.int64), np.zeros(24)
        )


def dose_of_tiles(shift, weight, n_points=10):
    """Doses of a row of points on a lattice of 4 x 4 x 16 nodes."""
    dose = np.concatenate([np.ones(4 * 4 * 16, np.float32), np.zeros(8, np.float32)])
    start = 16 * 5 + np.arange(0, n_points, 8)
    place = np.append(np.arange(0, n_points, 8), n_points)
    total = np.empty((len(shift), n_points), np.float32)
    tiles.accumulate_tiles(
        dose, (4, 4, 16), np.int64(1), start, place, np.empty(0, np.int64), np.array([0, len(start)]), np.zeros((1, 3)),
        np.array([2, 1, 0]), 1.0, shift, np.empty((len(shift), 0, 3, 3)), weight, np.empty((0, n_points), bool), total,
    )  # fmt: skip
    return total


@pytest.mark.parametrize("n_points", [0, 1, 7, 8, 9])
def test_tiles_of_few_points_and_of_no_weight(n_points):
    np.testing.assert_allclose(dose_of_tiles(shifts(0.0), np.full((2, 3), 1 / 3), n_points), 1, rtol=1e-6)
    assert not dose_of_tiles(shifts(0.0), np.zeros((2, 3)), n_points).any()
    found = tiles.cover_with_tiles(
        np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    )
    assert found == 0
    total = np.ones((0, 8))
    tiles.weighted_sums(
        np.ones(8, np.float32), np.zeros(0, np.int64), np.zeros(2, np.int64), np.ones(2, np.float32), total
    )
    total = np.ones((1, 8))
    tiles.weighted_sums(
        np.ones(8, np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64), np.ones(0, np.float32), total
    )
    assert not total.any()
    with pytest.raises(ValueError, match="out of its lattice"):
        tiles.weighted_sums(
            np.ones(8, np.float32), np.ones(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.float32), total
        )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 1), (2, 1, 3)])
@pytest.mark.parametrize("value", [*ODD, 5.0, -5.0])
def test_a_look_up_anywhere_takes_the_nearest_face(shape, value):
    quads = points.quads_of(np.full(shape, 7.0, np.float32))
    for k, n_points in ((0, 2), (3, 0), (3, 2)):
        total = np.empty((2, n_points), np.float32)
        linear = np.zeros((2, 0, 3, 3))
        weight = np.full((2, k), 1 / max(k, 1))
        places = np.full((n_points, 3), value)
        every = np.empty((0, n_points), bool)
        points.accumulate_gather(quads, shape, places, places, shifts(value, k), linear, weight, every, total)
        if abs(value) < 10:
            np.testing.assert_allclose(total, 7.0 if k else 0.0, rtol=1e-6)
    with pytest.raises(ValueError, match="another shape"):
        points.accumulate_gather(quads, (9, 9, 9), places, places, shifts(0.0), linear, weight, every, total)
    with pytest.raises(ValueError, match="no lattice"):
        points.quads_of(np.zeros((0, 2, 2), np.float32))


@pytest.mark.parametrize("value", ODD)
def test_a_radial_dose_anywhere(value):
    for table in (np.array([50.0]), np.array([50.0, 40.0, 0.0])):
        total = np.empty((2, 1), np.float32)
        place = np.zeros((1, 3))
        points.accumulate_radial(
            table, 1.0, place, place, shifts(value), np.zeros((2, 0, 3, 3)), np.full((2, 3), 1 / 3), total
        )
        assert total == pytest.approx(table[0] if value == 0 else table[-1])


@pytest.mark.parametrize("n_points", [0, 1, 7, 8, 9, 511, 512, 513, 519, 520, 521, 1030])
@pytest.mark.parametrize("n_terms", [0, 1, 4])
def test_volumes_of_any_number_of_points(n_points, n_terms):
    rng = np.random.default_rng(n_points)
    basis, factor = (rng.normal(size=s).astype(np.float32) for s in ((n_terms, n_points), (2, n_terms)))
    distance = rng.normal(size=n_points).astype(np.float32)
    volume = np.full((2, n_points), np.nan)
    one = np.float32(1)
    tiles.volumes_within(basis, factor, np.float32(0.1), one, np.float32(2), distance, one, 0.5, volume)
    field = np.clip(0.1 + factor.astype(float) @ basis, -2, 2)
    np.testing.assert_allclose(volume, 0.5 * np.clip(field - distance + 0.5, 0, 1), atol=1e-5)


@pytest.mark.parametrize("value", [*ODD, 3.0])
def test_margins_of_anything(value):
    table = np.linspace(0, 2, 1600).reshape(1, 1, 1600).repeat(3, axis=0).repeat(4, axis=1)
    frame = np.broadcast_to(np.eye(3), (2, 3, 3)).copy()
    size, sides = np.array([3.0, 5.0]), np.array([[3.0] * 6, [5.0] * 6])
    point, path = np.array([[0.0, 0.0, value]]), np.zeros((1, 3))
    weight = np.full((2, 3), 1 / 3)
    for some in (sides, sides + np.arange(6)):
        edges.margins_needed(table, shifts(value), weight, frame, point, path, 10.0, size, some)
    edges.distances_from_ellipsoid(point, np.zeros(6), np.empty(1))
    offset, part, dose = np.empty((2, 1, 3, 3)), np.zeros((2, 1, 3, 2), np.int64), np.empty((2, 1))
    edges.offsets_of_points(shifts(value), frame, point, path, 3, 4, offset, part)
    edges.doses_in_margins(table, offset, part, weight, 10.0, np.arange(6.0), dose)
    assert np.all((dose >= -1e-9) & (dose <= 2 + 1e-9))
    with pytest.raises(ValueError, match="no path"):
        edges.offsets_of_points(shifts(value), frame, point, np.zeros((0, 3)), 3, 4, offset, part)
    with pytest.raises(ValueError, match="no path"):
        edges.margins_needed(table, shifts(0.0), weight, frame, point, np.zeros((0, 3)), 10.0, size, sides)
    with pytest.raises(ValueError, match="two margins or more"):
        edges.margins_needed(table, shifts(0.0), weight, frame, point, path, 10.0, size[:1], sides[:1] + np.arange(6))


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 5)])
def test_polygons_anywhere(value, shape):
    for x, y in product((np.array([0.0, 3, 3, 0]), np.array([0.0, value, 3, value])), repeat=2):
        coverage = np.zeros(shape, np.float32)
        polygons.even_odd_coverage(x, y, np.array([0, 4]), 3, coverage)
        polygons.even_odd_coverage(x, y, np.array([0, 0, 2]), 3, coverage)
        polygons.even_odd_coverage(x[:0], y[:0], np.array([0]), 3, coverage)


@pytest.mark.parametrize("value", [*ODD, 40.0])
def test_solids_of_any_depth_anywhere(value):
    numbers = np.array([5.0, value, 0, 0, 0, 0, 0, 0])
    push, unite = [shapes.TUBE, 0, 1], [shapes.UNITE, 0, 0]
    for depth in (1, 40):
        code = np.array([push] * depth + [unite] * (depth - 1))
        points, distance = np.full((2, 3), value), np.empty(2)
        shapes.signed_distances(code, numbers, points, distance)
        axis = np.full(2, value)
        shapes.fill_voxels(code, numbers, axis, axis, axis, np.ones(3), 2, 1.0, np.empty((2, 2, 2), np.float32))
    shapes.signed_distances(np.zeros((0, 3), np.int64), numbers, points, distance)


def test_splines_of_one_node_and_taps_outside():
    values, weight = np.ones((1, 2, 1), np.float32), np.full((1, 4), 0.25, np.float32)
    assert splines.combine_four(values, np.array([[0, 1, 0, 1]]), weight) == 1
    assert splines.combine_four(values, np.zeros((0, 4), np.int64), np.zeros((0, 4), np.float32)).shape == (1, 0, 1)
    for tap in (-1, 2):
        with pytest.raises(ValueError, match="a tap lies outside"):
            splines.combine_four(values, np.array([[0, 1, 0, tap]]), weight)
    assert splines.less_laplacian(np.ones((3, 3, 3), np.float32), np.float32(1 / 12)) == 1


@pytest.mark.parametrize("value", [*ODD, 30.0])
def test_beams_of_anything(value):
    axes, source, zero = np.eye(3), np.array([0.0, 0.0, -1000.0]), np.zeros(3)
    fan, step = np.ones((2, 2, 2), np.float32), np.ones(3)
    density = np.ones((2, 2, 2), np.float32)
    for place in (zero, np.full(3, value)):
        depth = np.empty((1, 2, 3), np.float32)
        beams.radiological_depths(density, place, step, source, axes, 1000.0, np.full(3, value), step, depth)
        seen, open_dose = np.empty((2, 2)), np.empty(2, np.float32)
        beams.see_points(np.stack([place, zero]), source, axes, 1000.0, fan, place, step, seen, open_dose)
        maps = np.ones((3, 3, 2, 1), np.float32)
        dose = np.zeros(2)
        beams.add_beam_at_points(dose, seen, open_dose, np.zeros(2, np.float32), maps, place[:2], 1.0)
        grid = np.zeros((1, 1, 2, 1), np.float32)
        x, lung = np.array([0.0, value]), np.zeros((1, 1, 2), np.float32)
        beams.add_beam(grid, x, zero[:1], zero[:1], lung, source, axes, 1000.0, maps, place[:2], 1.0, fan, place, step)
    profile = np.array([0.0, 0.5, 1.0])
    edge = np.array([-1.0, value])
    beams.blur_rows(edge, edge[:1], edge[1:], x, x, profile, 1.0, np.empty((2, 2), np.float32))
    low, high = np.empty((2, 2)), np.empty((2, 2))
    beams.outermost(x, x[::-1].copy(), np.array([-1.0, 1.0]), low, high)


def test_beams_without_nodes_rays_or_parts_are_refused():
    axes, source, one = np.eye(3), np.array([0.0, 0.0, -1000.0]), np.ones(3)
    thin, flat = np.ones((2, 1, 2), np.float32), np.ones((1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="two nodes or more per axis"):
        beams.radiological_depths(flat, one, one, source, axes, 1000.0, one, one, np.empty((1, 1, 1), np.float32))
    with pytest.raises(ValueError, match="fewer than two"):
        beams.see_points(
            np.zeros((1, 3)), source, axes, 1000.0, thin, one, one, np.empty((1, 2)), np.empty(1, np.float32)
        )
    with pytest.raises(ValueError, match="no parts"):
        beams.outermost(one, one, one[:0], np.empty((0, 2)), np.empty((0, 2)))
    with pytest.raises(ValueError, match="three points or more"):
        beams.blur_rows(one, one[:2], one[:2], one, one, one[:1], 1.0, np.empty((3, 3), np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_the_plain_twins_are_the_vector_instructions(seed):
    """What they mean in numpy, where compilation is off; through the kernels that call them."""
    rng = np.random.default_rng(seed)
    values, start, place = rng.uniform(0, 1, 200).astype(np.float32), rng.integers(0, 100, 16), 8 * np.arange(16)
    base, factor = rng.integers(0, 80, 7), rng.uniform(0, 1, 7).astype(np.float32)
    found, expected = np.zeros((16, 8)), np.zeros(128, np.float32)
    tiles.weighted_sums(values, start, base, factor, found)
    for first in (0, 8):
        plain.sum_tiles(values, start, base, factor, 7, first, place, expected)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)
    dose = rng.uniform(0, 60, (2, 3, 4)).astype(np.float32)
    quads, visit = points.quads_of(dose), rng.normal(0, 1, (2, 8)).astype(np.float32)
    step = np.array([48, 16, 4, 0] * 2, np.int32)
    node, farthest = (np.array([*v, 0] * 2, np.float32) for v in (rng.uniform(0, 2, 3), (1, 2, 3)))
    total = np.empty((1, 1), np.float32)
    shift, weight = visit.reshape(1, 4, 4)[..., :3].astype(float), visit.reshape(1, 4, 4)[..., 3].astype(float)
    points.accumulate_gather(
        quads, dose.shape, node[None, :3].astype(float), np.zeros((1, 3)), shift, np.zeros((1, 0, 3, 3)), weight,
        np.empty((0, 1), bool), total,
    )  # fmt: skip
    assert plain.sum_trilinear(quads, step, farthest, node, visit, 0, 2) == pytest.approx(
        total[0, 0], rel=2e-4, abs=1e-3
    )
    with pytest.raises(IndexError):
        plain.sum_tiles(values, start + 190, base, factor, 7, 0, place, expected)
    assert vectors.LANES == vectors.TILES == 8


def test_kernels_are_kept_in_a_folder_of_ones_own_where_package_and_home_are_read_only(monkeypatch, tmp_path):
    def nowhere(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(kernels, "FunctionCache", nowhere)
    monkeypatch.setattr(kernels.config, "CACHE_DIR", "")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path))
    kernels._find_a_place_for_compiled_kernels()
    (folder,) = tmp_path.iterdir()
    assert kernels.config.CACHE_DIR == os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o77 == 0 or sys.platform == "win32"


@pytest.mark.skipif(MODE in os.environ, reason="runs the others")
@pytest.mark.parametrize("mode", [pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.nightly), "NUMBA_DISABLE_JIT"])
def test_these_tests_pass_with_bounds_checked_and_with_compilation_off(mode, request):
    here = Path(__file__).parent
    files = [Path(__file__).name] + (
        ["test_dvh_kernels.py", "test_accumulate.py"] if mode == "NUMBA_BOUNDSCHECK" else []
    )
    cache = request.config.cache.mkdir(f"kernels-{mode.lower()}")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    environment = os.environ | {mode: "1", "NUMBA_CACHE_DIR": str(cache), MODE: mode}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
