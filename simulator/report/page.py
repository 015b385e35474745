"""The page: tables, figures and what the reader can change, set into the template."""

import json
from pathlib import Path
from typing import Any

import xarray as xr
from jinja2 import Environment, PackageLoader

from simulator.report.choosing import chosen_strategies
from simulator.report.courses import course_tables
from simulator.report.decision import budget_tables, comparison_table, decision_table, margin_table, prescription_table
from simulator.report.figures import figures
from simulator.report.goals import answer, goal_list, goal_table, responses
from simulator.report.interplay import interplay_tables
from simulator.report.knowledge import knowledge_table
from simulator.report.limits import model_limits
from simulator.report.live import live_parts
from simulator.report.model_error import model_error
from simulator.report.quality import engine_sentences, numerics, plan_quality
from simulator.report.sweep import sweep_page
from simulator.report.targets import targets_table
from simulator.report.text import on_paper
from simulator.report.weights import weights_table
from simulator.results.views import courses_per_strategy, stopped_by_strategy, sweep_axes


def render_report(results: xr.DataTree, path: Path) -> None:
    """Write one HTML file that opens offline.

    Parameters
    ----------
    results : tree as described by `simulator.results.registry.VARIABLES`; without `/dose` there are no plan pictures.
    """
    page = _sweep(results) if sweep_axes(results) else _study(results)
    path.write_text(page, encoding="utf-8")


def _study(results: xr.DataTree) -> str:
    chosen = chosen_strategies(results)
    return page_of(
        "study.html",
        about=results.attrs,
        words=json.loads(results.attrs["words"]),
        decision=decision_table(results),
        prescriptions=prescription_table(results),
        answer=answer(results),
        targets=targets_table(results),
        knowledge=knowledge_table(results),
        required=margin_table(results),
        comparison=comparison_table(results) if results["decision"].sizes["strategy"] > 1 else None,
        weights=weights_table(results),
        budgets=budget_tables(results),
        interplay=interplay_tables(results),
        model_error=model_error(results),
        goals=goal_list(results),
        table=goal_table(results),
        responses=responses(results),
        chosen=chosen,
        figures=figures(results, chosen),
        plans=plan_quality(results),
        engine=engine_sentences(results),
        courses=course_tables(results, chosen),
        numerics=numerics(results),
        live=live_parts(results),
        stopped=stopped_by_strategy(results),
        n_courses=courses_per_strategy(results),
    )


def _sweep(results: xr.DataTree) -> str:
    return page_of("sweep.html", about=results.attrs, words=json.loads(results.attrs["words"]), **sweep_page(results))


def render_commissioning(facts: dict[str, Any], path: Path) -> None:
    """Write the page of the commissioning suite: its checks, and where and when they ran."""
    path.write_text(page_of("commissioning.html", about={}, **facts), encoding="utf-8")


def page_of(template: str, **facts: Any) -> str:
    """A page of the house."""
    environment = Environment(
        loader=PackageLoader("simulator.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"model_limits": model_limits, "on_paper": on_paper}
    return environment.get_template(template).render(**facts)
