"""Two pages for the tumour board: the numbers of the results, nothing beyond the paper, the same bytes again."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic_results import synthetic_results

from simulator.plots import summary_sheets
from simulator.plots.paper import SIDE, WIDTH, WRITTEN, Column, Sheet, wrapped
from simulator.report import render_summary
from simulator.report.summary import words_of

LONG = "a name of a motion management that is far too long for any column " * 4


def many_results():
    return synthetic_results(
        motions=("none", "itv", "gating", "breath-hold", "tracking", "mid-ventilation", LONG),
        guidances=("none", "online-bone", "online-target"),
        margins_mm=(0.0, 3.0, 5.0, 8.0),
        n_oars=30,
    )


def texts(sheet):
    return [text.get_text() for text in sheet.figure.texts]


@pytest.mark.parametrize("make", [synthetic_results, lambda: synthetic_results(with_dose=False), many_results])
def test_nothing_is_written_beyond_the_paper_or_over_the_line_to_sign(make):
    results = make()
    for sheet in summary_sheets(results, words_of(results)):
        sheet.figure.dpi = 300  # fine enough for letters that the screen does not widen
        canvas = FigureCanvasAgg(sheet.figure)
        canvas.draw()
        boxes = {t.get_text(): t.get_window_extent(canvas.get_renderer()) for t in sheet.figure.texts if t.get_text()}
        dpi = sheet.figure.dpi
        for text, box in boxes.items():
            assert SIDE * dpi - 2 <= box.x0, text
            assert box.x1 <= (WIDTH - SIDE) * dpi + 2, text
            assert box.y0 > 0.2 * dpi, text
        lines = sorted((box.y0, box.y1, text) for text, box in boxes.items())
        lowest = [text for y0, _, text in lines if y0 < 1.0 * dpi]
        assert all(t.startswith(("Page", "Read", "Signature", "Date", "…")) for t in lowest), lowest


def test_what_does_not_fit_is_counted():
    first, second = summary_sheets(many := many_results(), words_of(many))
    shown = sum(
        "%" not in t and t.startswith(("none", "itv", "gating", "breath", "track", "mid", LONG[:9]))
        for t in texts(first)
    )
    left_off = next(int(t.split()[2]) for t in texts(first) if "more in report.html" in t)
    assert shown + left_off == 84
    goals = sum("D0.035cc ≤" in t for t in texts(second))
    assert goals + next(int(t.split()[2]) for t in texts(second) if "more in report.html" in t) == 30


@pytest.mark.parametrize(
    ("subject", "whom"), [("patient", "one patient"), ("population", "a population with this anatomy")]
)
def test_the_pages_say_whom_they_are_about(subject, whom):
    results = synthetic_results()
    results.attrs["subject"] = subject
    assert f" About {whom}: {results.attrs['case_name']}, " in words_of(results).question


def test_the_pages_say_what_the_results_say():
    results = synthetic_results()
    words = words_of(results)
    said = [t for sheet in summary_sheets(results, words) for t in texts(sheet)]
    decision = results["decision"]
    chosen = decision.attrs["recommended"] or decision.attrs["nearest_miss"]
    assert words.strategies[0][0] == chosen
    assert words.strategies[0][0] in said
    goals = results["goals"].to_dataset().sel(strategy=chosen)
    p, low, high = (
        100 * float(goals[k].sel(goal="Organ1 D0.035cc <= 38 Gy")) for k in ("probability", "ci_low", "ci_high")
    )
    row = next(row for row in words.goals if row[0] == "Organ1 D0.035cc ≤ 38 Gy")
    assert row[1] == f"{p:.1f} ({low:.1f}–{high:.1f})"
    assert row[1] in said
    for sentence in ("Research software, not a medical device.", "Signature", "Date", "Read and discussed by (name)"):
        assert said.count(sentence) == 1
    assert any("0.0.test; run of 2024-01-02 03:04 UTC; seed 7; 60 courses" in t for t in said)
    assert any(results.attrs["result_hash"] in t for t in said)


def test_the_same_results_give_the_same_bytes(tmp_path):
    results = synthetic_results()
    for name in ("a", "b"):
        render_summary(results, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().count(b"/Count 2 ") == 1
    assert b"CreationDate" not in (tmp_path / "a").read_bytes()


def test_lines_are_as_wide_as_they_may_be_and_are_cut_with_an_ellipsis():
    assert wrapped("", 1, 8) == [""]
    assert wrapped("some words", 5, 8) == ["some words"]
    lines = wrapped(LONG + "W" * 300, 2, 8, most=3)
    assert (len(lines), lines[-1][-1]) == (3, "…")
    assert "".join(wrapped("W" * 300, 2, 8)) == "W" * 300


def test_a_table_stops_where_its_room_ends():
    sheet = Sheet()
    columns = [Column("a", 0.5), Column("b", 0.5)]
    assert sheet.table(columns, [["x", "y"]] * 100, until=3.0) > 0
    assert sheet.y <= 3.0
    assert WRITTEN == WIDTH - 2 * SIDE
