"""What the dose viewer takes along is what the results hold."""

import zlib

import numpy as np
import pytest
from synthetic_results import synthetic_results

from simulator.report import viewer_volumes
from simulator.report.packing import packed_dose, packed_levels
from simulator.report.viewer import dose_viewer
from simulator.report.viewer_volumes import volumes_within_budget


def unpacked(packed, shape):
    """Five lines that say what `packing.py` writes: levels within a box, times a step."""
    levels = np.frombuffer(zlib.decompress(packed["bytes"]), np.uint8).reshape(packed["shape"])
    for axis in (1, 2):
        levels = np.cumsum(levels, axis=axis, dtype=np.uint8)
    values = np.zeros(shape)
    values[tuple(slice(a, a + n) for a, n in zip(packed["low"], levels.shape, strict=True))] = levels * packed["step"]
    return values


@pytest.fixture(scope="module")
def results():
    return synthetic_results()


def test_a_packed_dose_is_the_dose_within_half_a_step():
    gy = 60 * np.random.default_rng(1).random((9, 11, 8), np.float32)
    back = unpacked(packed_dose(gy, 0.0), gy.shape)
    assert np.abs(back - gy).max() <= 0.5 * gy.max() / 255 * 1.0001


def test_nothing_above_the_floor_is_cropped():
    z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    gy = 50.0 * np.exp(-(z**2 + y**2 + (x - 8) ** 2) / 40)
    packed = packed_dose(gy, 2.5)
    back = unpacked(packed, gy.shape)
    assert np.prod(packed["shape"]) < gy.size / 4
    assert np.abs(back - gy)[gy >= 2.5].max() <= packed["step"] / 2 * 1.0001
    assert (back[gy < 2.5] <= 2.5 + packed["step"]).all()


def test_an_empty_mask_is_packed_as_nothing():
    assert unpacked(packed_levels(np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5), bool)), (3, 4, 5)).max() == 0


def test_every_strategy_and_map_of_the_results_is_taken_along_in_the_order_of_the_decision(results):
    maps, decision = results["dose"].to_dataset(), results["decision"].to_dataset()
    volumes = volumes_within_budget(results, maps)
    order = decision["strategy"].values[np.argsort(decision["rank"].values)]
    assert list(volumes.strategies) == list(order)
    assert not volumes.left_out
    for name, packed in volumes.strategies.items():
        own = maps.sel(strategy=name)
        stored = {
            "planned": own["nominal"],
            "mean": own["mean"],
            "standard deviation": own["sd"],
            "percentile 5": own["percentile"][0],
            "percentile 95": own["percentile"][1],
        }
        assert list(packed["maps"]) == list(stored)
        for label, kept in packed["maps"].items():
            values = stored[label].values
            floor_gy = 0.5 if label == "standard deviation" else 2.5
            off = np.abs(unpacked(kept, values.shape) - values)[values >= floor_gy]
            assert off.max() <= kept["step"] / 2 * 1.0001
        np.testing.assert_array_equal(unpacked(packed["ptv"], own["ptv_mask"].shape), own["ptv_mask"])


def size(volumes):
    return sum(len(p["bytes"]) for s in volumes.strategies.values() for p in (s["ptv"], *s["maps"].values()))


def within(budget, results, monkeypatch):
    monkeypatch.setattr(viewer_volumes, "_BUDGET_OF_FEW", budget)
    volumes = volumes_within_budget(results, results["dose"].to_dataset())
    assert size(volumes) <= budget
    return volumes


def test_what_does_not_fit_is_said_and_the_first_of_the_order_keep_most(results, monkeypatch):
    everything = size(volumes_within_budget(results, results["dose"].to_dataset()))
    volumes = within(int(0.8 * everything), results, monkeypatch)
    counts = [len(packed["maps"]) for packed in volumes.strategies.values()]
    assert counts == sorted(counts, reverse=True)
    whole = counts.count(5)
    assert 4 < whole < 12
    assert counts.count(2) == 12 - whole
    assert volumes.left_out == [
        f"To keep the page small it holds of {12 - whole} strategies planned and mean dose alone."
    ]

    volumes = within(int(0.5 * everything), results, monkeypatch)
    strides = [packed["maps"]["mean"]["stride"] for packed in volumes.strategies.values()]
    assert strides == sorted(strides)
    assert set(strides) == {1, 2}
    assert "on every second voxel" in volumes.left_out[0]

    volumes = within(int(0.05 * everything), results, monkeypatch)
    assert volumes.left_out[-1:] == [
        f"The last {12 - len(volumes.strategies)} strategies of the order have no maps here, only in results.nc."
    ]


def test_results_without_maps_have_no_viewer():
    assert dose_viewer(synthetic_results(with_dose=False)) is None
