"""Figures show the numbers of the results, with units."""

import numpy as np
import pytest
from synthetic_results import RX_GY, synthetic_results

from simulator import plots
from simulator.plots.margins import lines_against_margin
from simulator.results.registry import check_results


@pytest.fixture(scope="module")
def results():
    tree = synthetic_results()
    check_results(tree)
    return tree


def figures(results):
    strategies = [str(s) for s in results["goals/strategy"].values]
    return {
        "dvh": plots.dvh_bands(results, strategies[:4]),
        "plans": plots.plan_pictures(results, strategies[0]),
        "d98": plots.target_d98_against_margin(results),
        "oar": plots.oar_against_margin(results),
        "coverage": plots.coverage_against_margin(results),
    }


def bars(axes):
    """Abscissa, value, lower and upper end of each line with bars, in the order of drawing."""
    found = []
    for container in axes.containers:
        line, _, (segments,) = container.lines
        ends = np.array(segments.get_segments())
        found.append((line.get_xdata(), line.get_ydata(), ends[:, 0, 1], ends[:, 1, 1]))
    return found


def test_every_axis_names_its_unit(results):
    for name, figure in figures(results).items():
        for axes in figure.axes:
            labels = [label for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
            assert labels, name
            assert all(label.endswith(("(Gy)", "(%)", "(mm)", "(% of prescription)")) for label in labels), labels


def test_dvh_lines_are_those_of_the_results(results):
    strategies = [str(s) for s in results["dvh/strategy"].values[1:4]]
    figure = plots.dvh_bands(results, strategies)
    dvh = results["dvh"].to_dataset()
    for axes, strategy in zip(figure.axes, strategies, strict=False):
        assert axes.get_title(loc="left") == strategy
        drawn = [line for line in axes.lines if len(line.get_xdata()) == dvh.sizes["dose"]]
        assert len(drawn) == 2 * dvh.sizes["structure"]
        for median, nominal in zip(drawn[::2], drawn[1::2], strict=True):
            of_one = dvh.sel(strategy=strategy, structure=median.get_label())
            np.testing.assert_array_equal(median.get_ydata(), of_one["volume_percent"].sel(quantile=0.5))
            np.testing.assert_array_equal(nominal.get_ydata(), of_one["nominal"])
            assert nominal.get_linestyle() == "--"
        bands = [c.get_paths()[0].vertices[:, 1] for c in axes.collections]
        assert len(bands) == 2 * dvh.sizes["structure"]
        outer = dvh["volume_percent"].sel(strategy=strategy, structure=drawn[0].get_label(), quantile=[0.05, 0.95])
        assert set(np.round(outer.values.ravel(), 9)) <= set(np.round(bands[0], 9))


def test_coverage_and_its_intervals_are_those_of_the_results(results):
    goals = results["goals"].to_dataset()
    lines = lines_against_margin(results)
    for goal, axes in enumerate(plots.coverage_against_margin(results).axes):
        drawn = bars(axes)
        assert len(drawn) == len(lines) == 4
        for line, (_, middle, low, high) in zip(lines, drawn, strict=True):
            for key, values in (("probability", middle), ("ci_low", low), ("ci_high", high)):
                np.testing.assert_allclose(values, 100 * goals[key].values[line.strategies, goal], atol=1e-9)


def test_d98_is_in_percent_of_the_prescription(results):
    value_gy = results["metrics/value"].sel(metric="GTV D98%").values
    for line, drawn in zip(
        lines_against_margin(results), bars(plots.target_d98_against_margin(results).axes[0]), strict=True
    ):
        for values, q in zip(drawn[1:], (0.5, 0.05, 0.95), strict=True):
            np.testing.assert_allclose(values, 100 / RX_GY * np.quantile(value_gy[line.strategies], q, axis=1))


def test_oar_figure_shows_the_goal_least_often_met_and_its_limit(results):
    goals = results["goals"].to_dataset()
    critical = plots.critical_oar_goal(results)
    mean = goals["probability"].mean("strategy").values
    assert critical == 2 + np.argmin(mean[2:])
    axes = plots.oar_against_margin(results).axes[0]
    assert axes.get_ylabel() == f"{goals['metric'].values[critical]} (Gy)"
    for line, drawn in zip(lines_against_margin(results), bars(axes), strict=True):
        for values, key in zip(drawn[1:], ("median", "p05", "p95"), strict=True):
            np.testing.assert_allclose(values, goals[key].values[line.strategies, critical])
    assert any(np.allclose(line.get_ydata(), goals["limit"].values[critical]) for line in axes.lines)


def test_margin_is_the_mean_over_directions(results):
    last = lines_against_margin(results)[-1]
    np.testing.assert_allclose(last.margin_mm, [0, 3, 6])
    np.testing.assert_array_equal(last.strategies, [9, 10, 11])


def test_plan_pictures_are_in_radiological_convention(results):
    figure = plots.plan_pictures(results, str(results["dose/strategy"].values[0]))
    axial, coronal, sagittal = figure.axes[:3]
    letters = [[text.get_text() for text in axes.texts] for axes in (axial, coronal, sagittal)]
    assert letters == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]
    for axes in (axial, coronal, sagittal):
        assert axes.get_xlim()[0] < axes.get_xlim()[1]
    assert axial.get_ylim()[0] > axial.get_ylim()[1]
    assert coronal.get_ylim()[0] < coronal.get_ylim()[1]
    picture = np.asarray(coronal.images[0].get_array())
    dose, density = results["dose/nominal"].isel(strategy=0).sel(y=0), results["dose/density"].sel(y=0)
    is_cold = dose.values < 0.1 * float(results.attrs["prescription_gy"])
    assert picture.shape == (*dose.shape, 3)
    assert is_cold.any()
    assert not is_cold.all()
    grey = np.clip(density.values / 1.8, 0, 1)[is_cold]
    np.testing.assert_allclose(picture[is_cold], np.stack([grey] * 3, axis=1), atol=1e-6)
    hottest = np.unravel_index(np.argmax(dose.values), dose.shape)
    assert np.ptp(picture[hottest]) > 0.1, "a colour, not grey"
    assert axial.images[0].get_extent() == [-30, 30, -26, 26]


@pytest.mark.parametrize("n_guidances", [1, 7])
def test_many_lines_are_spread_over_panels(n_guidances):
    guidances = tuple(f"guidance-{i}" for i in range(n_guidances))
    tree = synthetic_results(motions=("none", "itv"), guidances=guidances, with_dose=False)
    visible = [axes for axes in plots.oar_against_margin(tree).axes if axes.get_visible()]
    counts = [len(axes.containers) for axes in visible]
    assert sum(counts) == 2 * n_guidances
    assert max(counts) <= 6


def test_same_figure_gives_same_bytes(results):
    first, second = (plots.svg_bytes(plots.coverage_against_margin(results)) for _ in range(2))
    assert first == second
