"""The report, in sentences, tables and figures.

Lives here: the page, its summary on two pages of paper, pages on comparisons, commissioning and a clinic's errors.
Enters: results. Leaves: self-contained HTML, and PDF.
"""

from simulator.report.comparison import render_comparison
from simulator.report.errors import render_errors
from simulator.report.page import render_commissioning, render_report
from simulator.report.summary import render_summary

__all__ = ["render_commissioning", "render_comparison", "render_errors", "render_report", "render_summary"]
