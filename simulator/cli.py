"""The command line: run, check, inspect, init, report and export."""

import errno
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

_INTERRUPTED = 130
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

app = typer.Typer(
    help="Monte Carlo simulation of treatment-plan robustness for SBRT of lymph-node oligometastases. "
    "Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(help="study file (YAML)", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="replace a value of the study, repeatable")
]


@app.command()
def run(
    config: ConfigPath,
    out: Annotated[Path | None, typer.Option(help="results folder (default: results/NAME)")] = None,
    courses: Annotated[int | None, typer.Option(min=1, help="courses per strategy")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="seed of every random stream")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="threads or processes (default: one per processor)")
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
    no_report: Annotated[bool, typer.Option("--no-report", help="do not write report.html")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Run a whole study: plans, courses, statistics, report. An interrupted run resumes."""
    from simulator.config import load_cluster
    from simulator.executors import executor_with
    from simulator.progress import progress_on
    from simulator.study import discard_earlier, is_finished, run_study
    from simulator.warm_up import kernels_compiled_ahead

    study = _load(config, set_, courses=courses, seed=seed)
    folder = out or Path("results") / study.name
    if fresh:
        discard_earlier(folder)
    if is_finished(study, folder):
        _say(f"{folder}: this study is finished already; --fresh runs it again")
    else:
        queue = load_cluster(cluster) if cluster else None
        with (
            progress_on(sys.stderr, quiet) as progress,
            kernels_compiled_ahead(workers, progress.note),
            executor_with(workers, backend, scheduler, queue, _say) as executor,
        ):
            run_study(study, folder, workers=workers, executor=executor, progress=progress)
    _answer(folder, no_report)


@app.command()
def check(config: ConfigPath, set_: SetOption = None) -> None:
    """Validate a study and print it resolved, with the time and memory it will need. Writes nothing."""
    from simulator.overview import study_tables
    from simulator.study import notes_of
    from simulator.tasks import problems_of

    study = _load(config, set_)
    problems = problems_of(study)
    console = _console()
    for table in study_tables(study, problems):
        console.print(table)
    for note in notes_of(problems):
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print("The study is valid.")


@app.command()
def inspect(path: Annotated[Path, typer.Argument(help="DICOM folder, case file or folder of motion traces")]) -> None:
    """Say what a DICOM folder or a case file holds, and what is missing."""
    from simulator.case.inventory import inventory
    from simulator.overview import text_table

    console = _console()
    for title, columns, rows in inventory(path).sections():
        console.print(text_table(title, columns, rows))


@app.command()
def init(
    dicom: Annotated[Path | None, typer.Option(help="DICOM-RT folder to start from")] = None,
    site: Annotated[str, typer.Option(help="mediastinal, abdominal or pelvic")] = "mediastinal",
    out: Annotated[Path, typer.Option(help="file to write")] = Path("study.yaml"),
) -> None:
    """Write a commented starter study."""
    from simulator.spec import ConfigError
    from simulator.starter import starter_study

    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another file with --out")
    out.write_text(starter_study(site, dicom), encoding="utf-8")
    _say(f"wrote {out} for a {site} node (--site changes that); next: simulator check {out}")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="results folders", metavar="DIR DIR...")],
    out: Annotated[Path, typer.Option(help="folder for comparison.csv and comparison.svg")] = Path("comparison"),
) -> None:
    """Put the results of several studies side by side: a table and a figure."""
    from simulator.overview import text_table
    from simulator.side_by_side import differences, open_studies, rows_of, write_comparison

    studies = open_studies(folders)
    title = "Probability of the wanted coverage (* recommended) and of all organ goals, 95 % intervals"
    _console().print(text_table(title, ("strategy", "goals", *studies), rows_of(studies)))
    for name, what in differences(studies).items():
        _console().print(f"{name} differs from {next(iter(studies))} in: {what}", markup=False, highlight=False)
    written = write_comparison(studies, folders, out)
    _say(f"wrote {', '.join(map(str, written))}")


@app.command()
def validate(
    out: Annotated[Path, typer.Option(help="folder for commissioning.html and commissioning.csv")] = Path("validation"),
) -> None:
    """Commission the simulator here: simulated against closed forms and published values. Takes a minute or two."""
    from simulator.commissioning import commission
    from simulator.overview import text_table

    done = commission(out, _say)
    rows = [
        (
            c.group,
            c.name,
            f"{c.expected:.5g}",
            f"{c.found:.5g}",
            f"{c.allowed:.2g}",
            c.unit,
            "pass" if c.passed else "FAIL",
        )
        for c in done
    ]
    _console().print(
        text_table("Commissioning", ("group", "check", "expected", "found", "allowed", "unit", "result"), rows)
    )
    failed = sum(not c.passed for c in done)
    _say(f"{len(done) - failed} of {len(done)} checks passed; wrote {out / 'commissioning.html'}")
    if failed:
        raise typer.Exit(1)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")]) -> None:
    """Write report.html again from results.nc."""
    from simulator.report import render_report
    from simulator.results import open_results

    page = (folder.parent if folder.is_file() else folder) / "report.html"
    with open_results(folder) as results:
        render_report(results, page)
    _say(f"wrote {page}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")],
    strategy: Annotated[str, typer.Option(help="strategy, as named in the results")],
    out: Annotated[Path, typer.Option(help="RTDOSE file to write")],
    map_name: Annotated[str, typer.Option("--map", help="nominal, mean, sd, or a percentile such as p95")] = "mean",
    reference: Annotated[
        Path | None, typer.Option(help="DICOM file of the patient whose identity and frame of reference the map takes")
    ] = None,
) -> None:
    """Write a dose map as DICOM RTDOSE for a planning system."""
    from simulator.export import export_rtdose
    from simulator.results import open_results

    with open_results(folder) as results:
        export_rtdose(results, strategy, map_name, out, reference)
    _say(f"wrote {out}")
    if reference is None:
        _say(
            "note: without --reference the map has a frame of reference of its own, and does not register with any image"
        )


def main() -> None:
    """Entry point: 0 done, 1 a defect of ours, 2 wrong input, 130 interrupted."""
    try:
        status = app(standalone_mode=False)
    except typer.Exit as end:
        status = end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except Exception as error:
        if _is_wrong_input(error):
            _say(f"error: {error.format_message() if hasattr(error, 'format_message') else error}")
            sys.exit(2)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            _say(f"error: {error}; what was finished is kept, the same command goes on from there once there is room")
            sys.exit(2)
        log = Path(f"simulator-error-{time.strftime('%Y%m%d-%H%M%S')}.log")
        log.write_text(traceback.format_exc(), encoding="utf-8")
        _say(f"error: a defect of the simulator ({type(error).__name__}: {error}); details in {log}")
        sys.exit(1)
    if status == _INTERRUPTED:
        _say("interrupted; what was finished is kept, the same command goes on from there")
    sys.exit(status if isinstance(status, int) else 0)


def _is_wrong_input(error: Exception) -> bool:
    """Whether the command line or the study is wrong, rather than the simulator."""
    from simulator.spec import SimulatorError

    return isinstance(error, SimulatorError) or hasattr(error, "format_message")


def _load(config: Path, assignments: list[str] | None, **replaced: Any) -> Any:
    from simulator.checked_yaml import parse_value
    from simulator.config import load_study
    from simulator.spec import ConfigError

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
    from simulator.overview import answer_table, recommendation
    from simulator.results import open_results

    with open_results(folder) as results:
        if not no_report:
            from simulator.report import render_report

            render_report(results, folder / "report.html")
        _console().print(answer_table(results))
        _console().print(recommendation(results), markup=False, highlight=False)
    names = ("report.html", "summary.csv", "results.nc", "config.yaml", "tasks.csv")
    _say(f"results in {folder}: {', '.join(name for name in names if (folder / name).exists())}")


def _console() -> Any:
    """Standard output: as wide as the terminal, or wide enough for tables in a file."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
