"""The report: one self-contained HTML page, and its summary on two pages of paper."""

from simulator.report.comparison import render_comparison
from simulator.report.errors import render_errors
from simulator.report.page import render_commissioning, render_report
from simulator.report.summary import render_summary

__all__ = ["render_commissioning", "render_comparison", "render_errors", "render_report", "render_summary"]
