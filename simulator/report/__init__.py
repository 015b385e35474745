"""The report: one self-contained HTML page."""

from simulator.report.page import render_commissioning, render_report

__all__ = ["render_commissioning", "render_report"]
