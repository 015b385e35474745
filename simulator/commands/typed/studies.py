"""Studies: commands that begin with a study file, or write one."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.terminal import console, say, tell, text_table

ConfigPath = Annotated[Path, typer.Argument(help="study file (YAML)", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="replace a value of the study, repeatable")
]


def run(
    config: ConfigPath,
    out: Annotated[Path | None, typer.Option(help="results folder (default: results/NAME)")] = None,
    courses: Annotated[int | None, typer.Option(min=1, help="courses per strategy")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="seed of every random stream")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="threads or processes (default: one per processor)")
    ] = None,
    set_: SetOption = None,
    backend: Annotated[str, typer.Option(help="local (threads), processes or dask")] = "local",
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler that runs already, such as tcp://head:8786")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(metavar="FILE", help="job queue to ask for Dask workers (see configs/clusters)")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="discard earlier results and unfinished courses")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="do not write report.html and summary.pdf")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Run a whole study: plans, courses, statistics, report. An interrupted run resumes."""
    from simulator.commands.progress import progress_on
    from simulator.execution.executors import executor_with
    from simulator.execution.folder import is_run_folder
    from simulator.execution.points import is_finished
    from simulator.execution.study import run_study
    from simulator.execution.warm_up import kernels_compiled_ahead
    from simulator.ground.files import require_own
    from simulator.study_file.cluster import load_cluster

    study = _load(config, set_, courses=courses, seed=seed)
    folder = out or Path("results") / study.name
    require_own(folder, is_run_folder)
    if not fresh and is_finished(study, folder):
        say(f"{folder}: this study is finished already; --fresh runs it again")
    else:
        queue = load_cluster(cluster) if cluster else None
        with (
            progress_on(sys.stderr, quiet) as progress,
            kernels_compiled_ahead(workers, progress.note),
            executor_with(workers, backend, scheduler, queue, say) as executor,
        ):
            run_study(study, folder, workers=workers, executor=executor, progress=progress, fresh=fresh)
    _answer(folder, no_report)


def check(config: ConfigPath, set_: SetOption = None) -> None:
    """Validate a study and print it resolved, with the time and memory it will need. Writes nothing."""
    from simulator.commands.overview import needs_of, study_tables
    from simulator.execution.points import notes_of, prepare_points
    from simulator.ground.parallel import local_executor

    study = _load(config, set_)
    with local_executor(None) as threads:
        points = prepare_points(study, Path(study.name), threads, fresh=True, ask=needs_of)
    for table in study_tables(study, points):
        console().print(table)
    for note in notes_of(points.values()):
        tell(f"note: {note}")
    tell("The study is valid.")


def init(
    dicom: Annotated[Path | None, typer.Option(help="DICOM-RT folder to start from")] = None,
    site: Annotated[str, typer.Option(help="mediastinal, abdominal or pelvic")] = "mediastinal",
    out: Annotated[Path, typer.Option(help="file to write")] = Path("study.yaml"),
) -> None:
    """Write a commented starter study."""
    from simulator.ground.files import refuse_existing
    from simulator.study_file.json_schema import FILE, write_schema
    from simulator.study_file.starter import starter_study

    refuse_existing(out)
    text = starter_study(site, dicom)
    write_schema(out.with_name(FILE))
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out} for a {site} node (--site changes that); next: simulator check {out}")


def examples(
    name: Annotated[str | None, typer.Argument(help="one of them, to copy", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="file to write (default: its own name, here)")] = None,
) -> None:
    """List the studies and invented data that come with the simulator, or copy one."""
    from simulator.study_file.shipped import copy_example
    from simulator.study_file.shipped import examples as shipped

    if name is None:
        console().print(text_table("simulator examples NAME copies one", ("name", "what", "needs"), shipped()))
    else:
        say(f"wrote {copy_example(name, out)}")


def schema(out: Annotated[Path | None, typer.Option(help="file to write (default: print it)")] = None) -> None:
    """Print the JSON Schema of a study file, by which editors complete and check it."""
    from simulator.study_file.json_schema import schema_text, write_schema

    if out is None:
        print(schema_text(), end="")
    else:
        write_schema(out)
        say(f"wrote {out}")


def margins(
    config: ConfigPath,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="whose motion management, guidance and PRV are meant (not needed where all strategies share them)"
        ),
    ] = None,
    organ: Annotated[
        str | None, typer.Option(help="search margins away from it too, in a PTV about as large as the isotropic one")
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="wanted share of courses (default: decision.probability)")
    ] = None,
    largest: Annotated[float, typer.Option(metavar="MM", help="largest margin in any direction")] = 20.0,
    out: Annotated[Path | None, typer.Option(help="results folder (default: results/NAME-margins)")] = None,
    courses: Annotated[
        int | None, typer.Option(min=100, help="courses that sizes are chosen by, and as many unseen")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="seed of the unseen courses")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="threads (default: one per processor)")] = None,
    set_: SetOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="discard earlier results")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="do not write report.html and summary.pdf")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Search the margins in six directions of the smallest PTV that covers, and verify them on unseen courses."""
    from simulator.commands.margins import TABLE, sentences, table_of, write_margins
    from simulator.commands.progress import progress_on
    from simulator.execution.folder import is_run_folder
    from simulator.execution.margins import search_margins
    from simulator.execution.study import run_study
    from simulator.ground.files import require_own
    from simulator.ground.parallel import local_executor
    from simulator.results.file import open_results

    study = _load(config, set_, courses=courses, seed=seed)
    folder = out or Path("results") / f"{study.name}-margins"
    require_own(folder, is_run_folder)
    with progress_on(sys.stderr, quiet) as progress, local_executor(workers) as executor:
        found = search_margins(
            study, strategy=strategy, organ=organ, coverage=coverage, largest_mm=largest, executor=executor,
            stage=progress.stage,
        )  # fmt: skip
        run_study(found.study, folder, workers=workers, progress=progress, fresh=fresh)
    _answer(folder, no_report)
    with open_results(folder) as results:
        write_margins(found, results, folder)
        console().print(text_table("Margins searched", *table_of(found, results)))
        for sentence in sentences(found, results):
            tell(sentence)
    say(f"wrote {folder / TABLE}")


def _load(config: Path, assignments: list[str] | None, **replaced: Any) -> Any:
    from simulator.ground.spec import ConfigError
    from simulator.study_file.checked_yaml import parse_value
    from simulator.study_file.loading import load_study

    overrides: dict[str, Any] = {}
    for assignment in assignments or []:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {assignment!r}: write --set key.path=value")
        overrides[key] = parse_value(value)
    overrides.update({key: value for key, value in replaced.items() if value is not None})
    return load_study(config, overrides)


def _answer(folder: Path, no_report: bool) -> None:
    """Write the report, unless it is not wanted, and print the answer."""
    from simulator.commands.overview import answer_table, recommendation
    from simulator.results.file import open_results

    with open_results(folder) as results:
        if not no_report:
            from simulator.report import render_report, render_summary

            render_report(results, folder / "report.html")
            render_summary(results, folder / "summary.pdf")
        console().print(answer_table(results))
        tell(recommendation(results))
    names = ("report.html", "summary.pdf", "summary.csv", "results.nc", "config.yaml", "tasks.csv")
    say(f"results in {folder}: {', '.join(name for name in names if (folder / name).exists())}")
