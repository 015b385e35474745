"""Figures of the results.

Lives here: one function per figure, colours, paper sizes. Enters: results. Leaves: a matplotlib `Figure`, or pictures.
"""

from simulator.plots.courses import courses_looked_at
from simulator.plots.decision import pareto_front, uncertainty_budget
from simulator.plots.dose import percentile_images, percentile_pictures, plan_images, plan_pictures
from simulator.plots.dvh import dvh_bands
from simulator.plots.margins import (
    coverage_against_margin,
    critical_oar_goal,
    oar_against_margin,
    target_d98_against_margin,
)
from simulator.plots.population import dose_population_histograms, dose_volume_coverage
from simulator.plots.side_by_side import side_by_side, strategies_apart
from simulator.plots.style import shown_structures, svg_bytes
from simulator.plots.summary import SummaryWords, summary_sheets
from simulator.plots.sweep import sweep_curves
from simulator.plots.targets import margin_against_distance, targets_in_projection

__all__ = [
    "SummaryWords",
    "courses_looked_at",
    "coverage_against_margin",
    "critical_oar_goal",
    "dose_population_histograms",
    "dose_volume_coverage",
    "dvh_bands",
    "margin_against_distance",
    "oar_against_margin",
    "pareto_front",
    "percentile_images",
    "percentile_pictures",
    "plan_images",
    "plan_pictures",
    "shown_structures",
    "side_by_side",
    "strategies_apart",
    "summary_sheets",
    "svg_bytes",
    "sweep_curves",
    "target_d98_against_margin",
    "targets_in_projection",
    "uncertainty_budget",
]
