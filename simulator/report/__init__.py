"""The report: one self-contained HTML page."""

from simulator.report.page import render_report

__all__ = ["render_report"]
