"""The page in a browser: it opens offline, sorts, filters, looks closer, and answers for another prescription."""

import re

import numpy as np
import pytest
from browser import opened

import simulator
from simulator.report import render_report
from simulator.study_file.schema import StudyConfig

_STUDY = {
    "name": "browser",
    "case": {"phantom": "sphere", "radius_mm": 8, "organs": {"Heart": {"radius_mm": 10, "gap_mm": 5}}},
    "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
    "plan": {"model": "conformal-arc"},
    "uncertainty": {
        "setup": {"systematic_mm": 2.5, "random_mm": 2},
        "respiration": {"amplitude_mm": [2, 2, 8]},
    },
    "strategies": {"margins_mm": [2, 6], "motion": ["none", "itv"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%", "Heart D0.035cc <= 53 Gy", "Heart V20Gy <= 70%", "Heart Dmean <= 28 Gy"],
    "numerics": {"max_points": 1500},
    "courses": 60,
}


@pytest.fixture(scope="module")
def results():
    return simulator.run(StudyConfig.model_validate(_STUDY))


@pytest.fixture(scope="module")
def path(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    render_report(results, path)
    assert path.stat().st_size < 8e6
    return path


@pytest.fixture(scope="module")
def browser(path):
    with opened(path, allowed=(f"request: {path.as_uri()}", "request: about:blank")) as page:
        yield page


@pytest.fixture
def page(browser, path):
    """The page as it opens on a screen, when its figures are there."""
    browser.goto("about:blank")
    browser.emulate_media(media="screen")
    browser.set_viewport_size({"width": 1280, "height": 800})
    browser.goto(path.as_uri())
    browser.wait_for_selector("html[data-ready]", state="attached")
    return browser


def rows_of(page, table):
    """Texts of the visible rows of a table."""
    rows = page.locator(f"#{table} tbody tr:visible").all()
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]


def test_the_first_screen_holds_verdict_and_table(page, results):
    decision = results["decision"].to_dataset()
    first = decision["strategy"].values[int(decision["rank"].values.argmin())]
    row = page.locator("#decision-table tbody tr").first
    assert row.locator("th").inner_text() == first
    assert row.bounding_box()["y"] + row.bounding_box()["height"] < 800


def test_headings_sort_and_the_rule_restores_its_order(page):
    in_order = rows_of(page, "decision-table")
    volume = page.locator("#decision-table thead button").last
    for sign, word in ((-1, "descending"), (1, "ascending")):
        volume.click()
        sorted_rows = rows_of(page, "decision-table")
        cc = np.array([float(row[-1]) for row in sorted_rows])
        assert (sign * np.diff(cc) > 0).all()
        assert page.locator(f"#decision-table th[aria-sort={word}]").count() == 1
    page.locator("#in-order").click()
    assert rows_of(page, "decision-table") == in_order


def test_filters_leave_what_they_name(page):
    page.locator("select[data-filter=motion]").select_option("itv")
    assert {row[0].split(",")[0] for row in rows_of(page, "decision-table")} == {"itv"}
    page.locator("select[data-filter=margin]").select_option("6 mm")
    assert [row[0] for row in rows_of(page, "decision-table")] == ["itv, 6 mm, none"]
    assert page.locator("#rows-left").inner_text() == "1 of 4 strategies"


def test_every_strategy_can_be_looked_at(page, results):
    """Choosing one redraws its DVHs: the median of the target is that of the results."""
    dvh = results["dvh"].to_dataset()
    for name in dvh["strategy"].values:
        page.locator("#strategy").select_option(str(name))
        assert page.locator("h2 .strategy-name").inner_text() == name
        shown = page.evaluate("Object.fromEntries(['dose', 'q50'].map(k => [k, model('dvh/0').data[k]]))")
        median = dvh["volume_percent"].sel(strategy=name, quantile=0.5).isel(structure=0)
        expected = np.interp(shown["dose"], dvh["dose"].values, median.values)
        np.testing.assert_allclose(shown["q50"], expected, atol=0.01)


def test_structures_are_switched_off(page):
    visible = "model('dvh').renderers.filter(r => r.data_source.name === 'dvh/0').every(r => r.visible)"
    assert page.evaluate(visible)
    page.locator("input[data-structure='0']").uncheck()
    assert not page.evaluate(visible)


def test_another_prescription_shows_the_plan_simulated_again(page, results):
    again = simulator.run(StudyConfig.model_validate(_STUDY | {"plan": {"model": "conformal-arc", "scale": 0.9}}))
    goals, decision = again["goals"].to_dataset(), again["decision"].to_dataset()
    assert ((goals["probability"] > 0.02) & (goals["probability"] < 0.98)).mean() > 0.4, "something is at stake"
    page.locator("#prescription-scale").fill("50")
    assert page.locator("#prescription-gy").inner_text() == "45 Gy (90 %)"
    for name, *cells in rows_of(page, "goal-table"):
        for goal, text in zip(goals["goal"].values, cells, strict=True):
            shown = re.match(r"[\d.]+", text.lstrip("<>")).group()
            probability = 100 * goals["probability"].sel(strategy=name, goal=goal).item()
            assert float(shown) == pytest.approx(probability, abs=0.11)
    shown = rows_of(page, "decision-table")
    assert [row[1].startswith(decision["verdict"].sel(strategy=row[0]).item()) for row in shown] == [True] * 4
    assert [decision["rank"].sel(strategy=row[0]).item() for row in shown] == [1, 2, 3, 4]
    assert "--set prescription.dose_gy=45 " in page.locator("#plan-again").text_content()
    dose = page.evaluate("model('dvh/0').data.dose.at(-1)")
    page.locator("#own-prescription").click()
    assert dose == pytest.approx(0.9 * page.evaluate("model('dvh/0').data.dose.at(-1)"))
    assert not page.locator("#scaled").is_visible()


def test_paper_is_of_the_studys_own_prescription(page):
    own = rows_of(page, "goal-table")
    page.locator("#prescription-scale").fill("50")
    scaled = rows_of(page, "goal-table")
    assert scaled != own
    for event, expected in (("beforeprint", own), ("afterprint", scaled)):
        page.evaluate(f"dispatchEvent(new Event('{event}'))")
        assert rows_of(page, "goal-table") == expected


def test_a_narrow_screen_scrolls_tables_and_not_the_page(page):
    page.set_viewport_size({"width": 400, "height": 1000})
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_paper_has_the_still_figures_and_every_column(page):
    """Nothing that only a screen can use is printed, and no table is wider than the paper."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 965, "height": 714})  # Letter less its margins in CSS pixels; A4 is 1031 wide
    assert (
        page.locator(".live-only:visible, thead button:visible").count() == 0
    )  # buttons are not repeated on each sheet
    assert page.locator("main img:visible").count() == page.locator("main img").count() >= 5
    widest = page.evaluate("Math.max(...Array.from(document.querySelectorAll('table'), t => t.offsetWidth))")
    assert widest <= 965


@pytest.mark.parametrize("metric", ["GTV D98%", "Heart V20Gy"])
def test_dose_population_curves_follow_the_prescription(page, results, metric):
    """At 0.8 of the prescription the median is that of the metric there: in proportion, or as measured at that scale."""
    name = str(results["decision/strategy"].values[0])
    page.locator("#strategy").select_option(name)
    page.locator("#metric").select_option(metric)
    page.locator("#prescription-scale").fill("40")
    values = results["metrics/value"].sel(strategy=name)
    there = 0.8 * values.sel(metric=metric) if "D98%" in metric else values.sel(metric="Heart V25Gy")
    quantiles = page.evaluate("model('population/own').data.value")
    np.testing.assert_allclose(quantiles, np.quantile(there.values, np.linspace(0, 1, 101)), atol=0.02)
    assert page.evaluate("model('population/axis').axis_label").startswith(metric)
