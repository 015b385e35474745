"""The page holds the numbers of the results and nothing from outside."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from synthetic_results import synthetic_results

import simulator
from simulator.commands.overview import recommendation
from simulator.ground.conventions import percent
from simulator.report import render_report
from simulator.report.choosing import chosen_strategies
from simulator.report.text import significant
from simulator.report.verdicts import remarks_on
from simulator.results.views import joint_probability, rough_doses

CONFIGS = Path(__file__).parents[1] / "configs"


class Page(HTMLParser):
    """Tables as rows of cell texts, and every address that the page refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.addresses: list[str] = []
        self._rows: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [attributes[key] for key in ("src", "href", "data", "action") if key in attributes]
        if tag == "table":
            self._rows = self.tables.setdefault(attributes.get("id", str(len(self.tables))), [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self._rows[-1][-1] += f"{data} "


def written(tree, folder):
    path = folder / "report.html"
    render_report(tree, path)
    return path.read_text(encoding="utf-8")


def without_library(text):
    """The page without the script of Bokeh."""
    return re.sub(r"<script>/\* BEGIN bokeh.*?</script>", "", text, flags=re.S)


@pytest.fixture(scope="module")
def results():
    return synthetic_results()


@pytest.fixture(scope="module")
def text(results, tmp_path_factory):
    return written(results, tmp_path_factory.mktemp("report"))


def test_goal_table_prints_the_numbers_of_the_results(results, text):
    goals = results["goals"].to_dataset()
    heading, *rows = Page(text).tables["goal-table"]
    assert len(rows) == goals.sizes["strategy"]
    assert len(heading) == 1 + goals.sizes["goal"]
    for i, row in enumerate(rows):
        assert row[0].strip() == goals["strategy"].values[i]
        for j, printed in enumerate(row[1:]):
            found = re.findall(r"[<>]?[\d.]+", printed)
            expected = [goals[key].values[i, j] for key in ("probability", "ci_low", "ci_high")]
            for number, value in zip(found, expected, strict=True):
                if number[0] in "<>":
                    bound = float(number[1:])
                    assert 0 < 100 * value < bound if number[0] == "<" else bound < 100 * value < 100
                else:
                    assert abs(float(number) - 100 * value) <= 0.05 + 1e-9


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0, "0"),
        (1, "100"),
        (1 - 1e-16, "100"),
        (0.9995, ">99.9"),
        (0.0005, "<0.1"),
        (0.905, "90.5"),
        (np.nan, "–"),
    ],
)
def test_only_certainty_is_printed_as_such(probability, text):
    assert percent(probability) == text


def test_nothing_is_fetched_from_outside(text):
    """The library's own script is left out of the search by words; a browser listens for requests in its own test."""
    assert all(address.startswith(("data:image/", "#")) for address in Page(text).addresses)
    assert not re.search(r"@import|url\(|<script[^>]* src|<link", without_library(text))


def test_only_writing_a_report_loads_its_library():
    code = "import sys, simulator, simulator.commands.cli, simulator.execution.study; print('bokeh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_unchecked_limits_are_marked(results, text):
    goals = results["goals"].to_dataset()
    mark = "check against the publication before use"
    heading = Page(text).tables["goal-table"][0][1:]
    assert [mark in cell for cell in heading] == [not checked for checked in goals["checked"].values]
    assert [mark in row[4] for row in Page(text).tables["goal-list"][1:]] == [not c for c in goals["checked"].values]
    assert "has not been compared with the publication" in text


def test_sentences_name_the_strategies_that_reach_the_target_goals(results, text):
    goals = results["goals"].to_dataset()
    lowest = goals["probability"].values[:, goals["role"].values == "target"].min(axis=1)
    reaching = goals["strategy"].values[lowest >= 0.9]
    assert 0 < len(reaching) < len(lowest)
    section = text[text.index('<section id="answer">') :]
    sentence = re.search(r"<p>(.*?)</p>", section, re.S).group(1)
    assert sentence.startswith(f"{len(reaching)} of {len(lowest)} strategies reach")
    assert [name in sentence for name in goals["strategy"].values] == list(lowest >= 0.9)


def test_chosen_strategies_have_the_properties_they_are_chosen_for(results):
    goals = results["goals"].to_dataset()
    names = list(goals["strategy"].values)
    lowest = goals["probability"].values[:, goals["role"].values == "target"].min(axis=1)
    chosen = chosen_strategies(results)
    assert len(chosen) <= 4
    by_reason = {reason: names.index(name) for name, reasons in chosen.items() for reason in reasons.split("; ")}
    attrs = results["decision"].attrs
    word = "recommended" if attrs["recommended"] else "nearest miss"
    assert names[by_reason[f"{word} by the rule of the decision"]] == (attrs["recommended"] or attrs["nearest_miss"])
    assert lowest[by_reason["target goals most certain"]] == lowest.max()


def test_decision_table_lists_strategies_in_their_order(results, text):
    decision, joint = results["decision"].to_dataset(), results["joint"].to_dataset()
    _, *rows = Page(text).tables["decision-table"]
    assert [decision["rank"].sel(strategy=row[0].strip()).item() for row in rows] == list(range(1, len(rows) + 1))
    for name, verdict, coverage, limits, *_ in rows:
        at = decision.sel(strategy=name.strip())
        assert ("recommended" in verdict) == (name.strip() == decision.attrs["recommended"])
        assert verdict.strip().startswith(at["verdict"].item())
        assert limits.strip() == f"{at['limits_held'].item()} of 2"
        shown = joint["probability"].sel(strategy=name.strip(), joint="wanted coverage").item()
        assert coverage.split("%")[0].strip() == percent(shown)


def test_goals_on_organs_that_are_not_set_have_no_probability(tmp_path):
    tree = synthetic_results(n_oars=0)
    assert np.isnan(joint_probability(tree, "all organ goals")["probability"]).all()
    assert np.isfinite(joint_probability(tree, "wanted coverage")["probability"]).all()
    page = written(tree, tmp_path)
    for table in ("decision-table", "comparison-table"):
        heading, *_ = Page(page).tables[table]
        assert not any("organ" in cell for cell in heading)
    assert "in the risk to organs" not in page
    assert "Coverage of the target against the risk to organs" not in page


def test_required_margins_are_printed_beside_the_recipes(results, text):
    margins = results["margins"].to_dataset()
    _, *rows = Page(text).tables["required-table"]
    assert len(rows) == margins.sizes["series"] == 4
    for i, row in enumerate(rows):
        required = margins["required_mm"].values[i, 0]
        expected = "at most 0.0" if required == -np.inf else "more than" if required == np.inf else f"{required:.1f}"
        assert row[3].strip().startswith(expected)
        assert float(row[-1]) == pytest.approx(2.7 * 2, abs=0.06)


def test_the_difference_to_each_recipe_is_printed_with_its_parts(results, text):
    margins = results["margins"].to_dataset()
    _, *rows = Page(text).tables["causes-table"]
    assert len(rows) % margins.sizes["recipe"] == 0
    for row in rows:
        if "–" not in row[2]:
            parts = [float(cell) for cell in row[3:]]
            assert sum(parts) == pytest.approx(float(row[2]), abs=0.05 * (len(parts) + 1))


def test_pairs_that_cannot_be_told_apart_are_marked(results, text):
    comparison, attrs = results["comparison"].to_dataset(), results["decision"].attrs
    chosen = attrs["recommended"] or attrs["nearest_miss"]
    _, *rows = Page(text).tables["comparison-table"]
    assert len(rows) == comparison.sizes["strategy"] - 1
    for row in rows:
        pair = comparison.sel(strategy=row[0].strip(), other=chosen, joint="wanted coverage")
        assert ("not told apart" in row[3]) == (not pair["distinguishable"])
        assert row[3].strip().startswith(f"{100 * pair['joint_difference'].item():+.1f}")


def test_the_page_says_whom_it_is_about(results, text):
    assert f"About a population with this anatomy: {results.attrs['case_name']}, target" in text


def test_text_of_the_study_is_escaped_and_whole(results, text):
    assert "name: &lt;synthetic&gt; &amp; small" in text
    assert "12 strategies &lt;of&gt; courses." in text
    assert "Research software, not a medical device." in text
    for key in ("simulator_version", "seed", "result_hash", "created"):
        assert str(results.attrs[key]) in text
    assert (text.count("minor deviation"), text.count("major deviation")) == (12, 2 * 12), "R50; D2cm and V100%"


def test_mean_tumour_control_stands_beside_that_of_the_plan(tmp_path):
    tree = synthetic_results()
    metrics = tree["metrics"].to_dataset()
    control = metrics.isel(metric=[0]).assign_coords(metric=["GTV TCP"])
    tree["metrics"] = xr.DataTree(xr.concat([metrics, control], "metric", data_vars="minimal"))
    _, *rows = Page(written(tree, tmp_path)).tables["response-table"]
    for i, (name, printed) in enumerate(rows):
        mean, low, high, planned = (float(number) for number in re.findall(r"[\d.]+", printed))
        values = control["value"].values[i, :, 0]
        assert name.strip() == metrics["strategy"].values[i]
        assert mean == pytest.approx(values.mean(), abs=0.051)
        assert planned == pytest.approx(control["nominal"].values[i, 0], abs=0.051)
        ends = [control[key].values[i, 0] for key in ("mean_low", "mean_high")]
        assert [low, high] == pytest.approx(ends, abs=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (4.187, "4.19"), (24.46, "24.5"), (647.48, "647"), (4035.2, "4035"), (0.0123, "0.012")],
)
def test_volumes_have_three_significant_digits(value, text):
    assert significant(value) == text


def test_one_strategy_without_dose_maps(tmp_path):
    tree = synthetic_results(("none",), ("none",), (3.0,), n_oars=0, with_dose=False)
    text = written(tree, tmp_path)
    assert "so there are no plan pictures" in text
    assert "image/png" not in without_library(text)
    assert "the only strategy" in text
    assert without_library(text).count("image/svg+xml") == 6
    assert "comparison-table" not in text


@pytest.mark.nightly
def test_many_strategies_and_goals_stay_small(tmp_path):
    guidances = tuple(f"guidance-{i}" for i in range(10))
    text = written(synthetic_results(guidances=guidances, margins_mm=(0, 2, 4, 6, 8), n_oars=38), tmp_path)
    rows = Page(text).tables["goal-table"]
    assert (len(rows), len(rows[0])) == (101, 41)
    assert len(text) < 14e6


@pytest.mark.parametrize(
    ("metric", "unit"), [("GTV Dmin", "Gy"), pytest.param("GTV V95%", "%", marks=pytest.mark.nightly)]
)
def test_strategies_are_compared_by_another_metric_of_the_target_where_no_goal_is_on_its_d98(metric, unit, tmp_path):
    study = simulator.load_study(
        CONFIGS / "sphere_axes.yaml",
        {"goals": [f"{metric} >= 90%"], "decision.target_goals": [f"{metric} >= 90%"], "courses": 20},
    )
    tables = Page(written(simulator.run(study, workers=1), tmp_path)).tables
    header, first = tables["comparison-table"][:2]
    assert [h.strip() for h in header[1:3]] == [
        f"Better {metric} in % of courses",
        f"Mean difference of {metric} ({unit})",
    ]
    assert len(first) == len(header)


def test_structures_whose_doses_are_known_roughly_are_named():
    tree = synthetic_results()
    assert not rough_doses(tree)
    tree["dvh"]["interpolation_error_gy"][1, 2] = 1.2
    (said,) = [sentence for sentence in remarks_on(tree) if sentence.startswith("Doses at volumes may be off")]
    assert "Organ2 (1.2 Gy)" in said
    assert "Organ1" not in said
    assert f"note: {said}" in recommendation(tree)
