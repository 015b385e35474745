"""The command line: run, check, inspect, init, report, export, course, errors and more."""

import atexit
import errno
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

import simulator
from simulator.commands.terminal import console, make_ready, say, tell, text_table

_BY_SIGNAL = 128
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
_GOES_ON = "what was finished is kept, the same command goes on from there"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"{_GOES_ON} once there is room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "ask for the right to do so, or name another place"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), f"the disk does not answer; {_GOES_ON} once it does"),
    errno.ENOLCK: "this disk grants no locks and none are needed: set HDF5_USE_FILE_LOCKING=FALSE",
}

app = typer.Typer(
    help="Monte Carlo simulation of treatment-plan robustness for SBRT of lymph-node oligometastases. "
    "Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(help="study file (YAML)", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="replace a value of the study, repeatable")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"simulator {simulator.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


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
    no_report: Annotated[bool, typer.Option("--no-report", help="do not write report.html and summary.pdf")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Run a whole study: plans, courses, statistics, report. An interrupted run resumes."""
    from simulator.commands.progress import progress_on
    from simulator.execution.executors import executor_with
    from simulator.execution.folder import is_finished, is_run_folder
    from simulator.execution.study import run_study
    from simulator.execution.warm_up import kernels_compiled_ahead
    from simulator.files import require_own
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


@app.command()
def check(config: ConfigPath, set_: SetOption = None) -> None:
    """Validate a study and print it resolved, with the time and memory it will need. Writes nothing."""
    from simulator.commands.overview import study_tables
    from simulator.execution.problems import problems_of
    from simulator.execution.study import notes_of

    study = _load(config, set_)
    problems = problems_of(study)
    for table in study_tables(study, problems):
        console().print(table)
    for note in notes_of(problems):
        tell(f"note: {note}")
    tell("The study is valid.")


@app.command()
def inspect(path: Annotated[Path, typer.Argument(help="DICOM folder, case file or folder of motion traces")]) -> None:
    """Say what a DICOM folder or a case file holds, and what is missing."""
    from simulator.case.inventory import inventory

    for title, columns, rows in inventory(path).sections():
        console().print(text_table(title, columns, rows))


@app.command()
def init(
    dicom: Annotated[Path | None, typer.Option(help="DICOM-RT folder to start from")] = None,
    site: Annotated[str, typer.Option(help="mediastinal, abdominal or pelvic")] = "mediastinal",
    out: Annotated[Path, typer.Option(help="file to write")] = Path("study.yaml"),
) -> None:
    """Write a commented starter study."""
    from simulator.files import refuse_existing
    from simulator.study_file.json_schema import FILE, write_schema
    from simulator.study_file.starter import starter_study

    refuse_existing(out)
    text = starter_study(site, dicom)
    write_schema(out.with_name(FILE))
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out} for a {site} node (--site changes that); next: simulator check {out}")


@app.command()
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


@app.command()
def schema(out: Annotated[Path | None, typer.Option(help="file to write (default: print it)")] = None) -> None:
    """Print the JSON Schema of a study file, by which editors complete and check it."""
    from simulator.study_file.json_schema import schema_text, write_schema

    if out is None:
        print(schema_text(), end="")
    else:
        write_schema(out)
        say(f"wrote {out}")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="results folders", metavar="DIR DIR...")],
    out: Annotated[Path, typer.Option(help="folder for comparison.html, .csv and .svg")] = Path("comparison"),
) -> None:
    """Put the results of several studies, or the points of sweeps, side by side: a table and a page."""
    from simulator.commands.side_by_side import differences, open_studies, rows_of, write_comparison

    studies = open_studies(folders)
    written = write_comparison(studies, out)
    title = "Probability of the wanted coverage (* recommended) and of all organ goals, 95 % intervals"
    console().print(text_table(title, ("strategy", "goals", *studies), rows_of(studies)))
    for name, what in differences(studies).items():
        tell(f"{name} differs from {next(iter(studies))} in: {what}")
    say(f"wrote {', '.join(map(str, written))}")


@app.command()
def validate(
    out: Annotated[Path, typer.Option(help="folder for commissioning.html and commissioning.csv")] = Path("validation"),
    quick: Annotated[bool, typer.Option("--quick", help="leave out the checks that take long")] = False,
    studies: Annotated[
        bool, typer.Option("--studies", help="in place of them, compare the shipped studies with their filed results")
    ] = False,
) -> None:
    """Commission the simulator here: simulated against closed forms and published values. Takes a minute or two."""
    from simulator.commands.commissioning import commission, z_sum
    from simulator.commands.layers import uncovered
    from simulator.commands.reference_studies import reference_groups

    done = commission(out, say, quick=quick, others=reference_groups(quick=quick) if studies else None)
    rows = [
        (
            c.group,
            c.name,
            f"{c.expected:.5g}",
            f"{c.found:.5g}",
            f"{c.allowed:.2g}",
            c.unit,
            "" if c.z is None else f"{c.z:+.2f}{'*' if c.shares_courses else ''}",
            "pass" if c.passed else "FAIL",
        )
        for c in done
    ]
    console().print(
        text_table("Commissioning", ("group", "check", "expected", "found", "allowed", "unit", "z", "result"), rows)
    )
    failed, (total, n_sharing) = sum(not c.passed for c in done), z_sum(done)
    say(total.line(n_sharing))
    say(uncovered(c.covers for c in done))
    say(f"{len(done) - failed} of {len(done)} checks passed; wrote {out / 'commissioning.html'}")
    if failed or not total.passed:
        raise typer.Exit(1)


@app.command()
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
    workers: Annotated[int | None, typer.Option(min=1, help="threads (default: one per processor)")] = None,
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
    from simulator.files import require_own
    from simulator.parallel import local_executor
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


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="one of them (default: all)", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="page in Markdown to write")] = None,
) -> None:
    """Simulate published studies and say which of their values are found again, and why others are not."""
    from simulator.commands.reproduce import reproduce as reproduced
    from simulator.commands.reproduce import rows_of, write_page
    from simulator.files import refuse_existing

    if out is not None:
        refuse_existing(out)
    done = list(reproduced(name))
    console().print(text_table("Published studies, simulated", *rows_of(done)))
    if out is not None:
        write_page(done, out)
        say(f"wrote {out}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")]) -> None:
    """Write report.html and summary.pdf again from results.nc."""
    from simulator.execution.folder import is_run_folder
    from simulator.files import refuse_existing
    from simulator.report import render_report, render_summary
    from simulator.results.file import open_results
    from simulator.results.views import sweep_axes

    place = folder.parent if folder.is_file() else folder
    page, summary = place / "report.html", place / "summary.pdf"
    with open_results(folder) as results:
        written = [page] if sweep_axes(results) else [page, summary]
        if not is_run_folder(place):
            for path in written:
                refuse_existing(path)
        render_report(results, page)
        render_summary(results, summary)
    say(f"wrote {', '.join(map(str, written))}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")],
    strategy: Annotated[str, typer.Option(help="strategy, as named in the results")],
    out: Annotated[Path, typer.Option(help="RTDOSE or RTSTRUCT file to write")],
    map_name: Annotated[
        str | None, typer.Option("--map", help="nominal, mean (the default), sd, or a percentile such as p95")
    ] = None,
    ptv: Annotated[
        bool,
        typer.Option("--ptv", help="structures in place of a map: planning target, PTV, and PTV for a probability"),
    ] = False,
    probability: Annotated[
        float | None, typer.Option(help="of the latter, such as 0.9 (default: the study's wanted coverage)")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="DICOM file of the patient whose identity, frame of reference and CT slices the file takes"),
    ] = None,
) -> None:
    """Write a dose map as DICOM RTDOSE, or PTVs as RTSTRUCT, for a planning system; either as NIfTI where --out is .nii.gz."""
    from simulator.case.nifti import is_nifti
    from simulator.commands.export import export_rtdose
    from simulator.commands.export_nifti import export_map, export_masks
    from simulator.commands.export_structures import export_rtstruct
    from simulator.files import refuse_existing
    from simulator.results.file import open_results
    from simulator.spec import ConfigError

    if (ptv and map_name is not None) or (probability is not None and not ptv):
        raise ConfigError(
            "export: --map is for a dose map, --ptv and its --probability for structures; give one of them"
        )
    if is_nifti(out) and reference is not None:
        raise ConfigError("export: NIfTI says nothing of a patient; leave --reference out, or name a .dcm file")
    refuse_existing(out)
    with open_results(folder) as results:
        if ptv:
            if is_nifti(out):
                found = export_masks(results, strategy, out, probability=probability)
            else:
                found = export_rtstruct(results, strategy, out, reference, probability=probability)
            console().print(text_table("Volumes", *found.rows()))
            for note in found.notes:
                tell(f"note: {note}")
        elif is_nifti(out):
            export_map(results, strategy, map_name or "mean", out)
        else:
            export_rtdose(results, strategy, map_name or "mean", out, reference)
    say(f"wrote {out}" if not (ptv and is_nifti(out)) else f"wrote a mask for each volume beside {out}")
    if reference is None and not is_nifti(out):
        say(
            "note: without --reference the file has a frame of reference of its own, and does not register with any image"
        )


@app.command()
def course(
    folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")],
    strategy: Annotated[str, typer.Option(help="strategy, as named in the results")],
    number: Annotated[int | None, typer.Option("--course", help="number of the course, from 0 on")] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            help="in its place, the course at this percentile of a metric (5: what 5 % of courses fall below)"
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option(help='that metric, such as "GTV D98%" (default: D98% of the target)')
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for tables and dose (default: DIR/courses/...)")] = None,
    rtdose: Annotated[bool, typer.Option("--rtdose", help="write the dose as DICOM RTDOSE too")] = False,
    reference: Annotated[
        Path | None,
        typer.Option(help="DICOM file of the patient whose identity and frame of reference the RTDOSE takes"),
    ] = None,
) -> None:
    """Simulate one course of a finished study again and say where the target went, fraction by fraction, and what it cost."""
    from simulator.commands.course import course_folder, tables_of_course, write_course
    from simulator.execution.one_course import simulate_course
    from simulator.files import require_own
    from simulator.results.file import open_results

    with open_results(folder) as results:
        if out is not None:
            require_own(out)
        found = simulate_course(results, strategy, number, percentile=percentile, of=of)
        place = out or course_folder(folder, results, found)
        write_course(results, found, place, rtdose=rtdose or reference is not None, reference=reference)
        for title, columns, rows in tables_of_course(results, found):
            console().print(text_table(title, columns, rows))
    say(f"wrote {place}")


@app.command()
def errors(
    table: Annotated[
        Path,
        typer.Argument(
            help="table of shifts (CSV): patient, fraction, LR, AP, SI; or a folder of DICOM spatial registrations",
            metavar="TABLE|FOLDER",
        ),
    ],
    convention: Annotated[
        str | None, typer.Option(help="signs and axes of the table: iec61217 or dicom (a self-test is printed)")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="mm or cm, where no column's name says it")] = None,
    measured: Annotated[
        str, typer.Option(help="when the images were made: before correction, residual after it, or during the beam")
    ] = "before",
    corrections: Annotated[
        bool, typer.Option("--corrections", help="the table holds couch movements, which are minus the errors")
    ] = False,
    isocentre: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="of a folder: isocentre (mm) of patients without an RTPLAN in it"),
    ] = None,
    image_isocentre: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z", help="of a folder: the machine's isocentre in the images, if not that of the plan"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the sampler")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for errors.html (the page), errors.yaml, errors.csv, errors.svg and posterior.nc (draws)"
        ),
    ] = None,
) -> None:
    """Estimate a clinic's M, Σ and σ from its record of image guidance, with intervals, for a study."""
    from simulator.commands.errors import errors_found, write_errors
    from simulator.files import printable, require_own
    from simulator.records.estimates import chains_in_words, rows_of

    if out is not None:
        require_own(out)
    found = errors_found(
        table,
        convention,
        unit=unit,
        measured=measured,
        corrections=corrections,
        isocentre=isocentre,
        image_isocentre=image_isocentre,
        seed=seed,
    )
    for line in found.self_test:
        tell(line)
    for note in found.notes:
        tell(f"note: {note}")
    console().print(text_table(f"Errors of {found.made_of}", *rows_of(found)))
    tell(chains_in_words(found))
    print(f"\n{printable(found.block)}")  # as it stands: a folded comment would be no comment
    if out is not None:
        write_errors(found, out)
        say(f"wrote {out}")


@app.command()
def motion(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="folder with the structure sets of a 4DCT's phases, or breathing records",
            metavar="FOLDER or RECORD...",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="4DCT: the target, as the structure sets name it")] = None,
    organ: Annotated[
        list[str] | None,
        typer.Option(help="4DCT: a structure to follow beside it, repeatable (default: all in every phase)"),
    ] = None,
    inhale_percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="4DCT: phase of inhale, in percent of the cycle (default: 0)")
    ] = None,
    inhale: Annotated[
        str | None, typer.Option(help="records: plus or minus, where they do not say which way is inhale")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="records: mm or cm, where no column's name says it")] = None,
    time_unit: Annotated[str | None, typer.Option(help="records: s or ms, where no column's name says it")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for motion.yaml, motion.csv and motion.svg")] = None,
) -> None:
    """Describe breathing from a 4DCT's structure sets or from breathing records, for a study."""
    from simulator.commands.motion import describe_motion, write_found
    from simulator.files import printable, require_own

    if out is not None:
        require_own(out)
    found = describe_motion(
        paths,
        target=target,
        organs=organ or (),
        inhale_percent=inhale_percent,
        inhale=inhale,
        unit=unit,
        time_unit=time_unit,
    )
    for note in found.notes:
        tell(f"note: {note}")
    for title, columns, rows in found.tables:
        console().print(text_table(title, columns, rows))
    print(f"\n{printable(found.block)}")  # as it stands: a folded comment would be no comment
    if out is not None:
        write_found(found, out)
        say(f"wrote {out}")


def main() -> None:
    """Entry point: 0 done, 1 a defect of ours, 2 wrong input, 128 and the signal's number when stopped by one."""
    make_ready()
    stopped_by = _stopped_by()
    try:
        status = app(standalone_mode=False)
    except typer.Exit as end:
        status = end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = _BY_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        status = _reported(error) if not stopped_by else 0
    if stopped_by:
        say(f"interrupted; {_GOES_ON}")
        _leave(_BY_SIGNAL + stopped_by[0])
    sys.exit(status if isinstance(status, int) else 0)


def _leave(status: int) -> NoReturn:
    """End now, though threads may be within compiled code: the interpreter's own end would abort in it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(status)


def _stopped_by() -> list[int]:
    """Signals that have asked to stop, each of which interrupts as Ctrl-C does; those that are ignored stay so (nohup)."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (getattr(signal, name) for name in _STOPPING if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    return received


def _reported(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if _is_wrong_input(error):
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if message:  # none where the help has been printed
            say(f"error: {message}")
        return 2
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        say(f"error: {error}; {_REMEDIES[error.errno]}")
        return 2
    text, name = traceback.format_exc(), f"simulator-error-{time.strftime('%Y%m%d-%H%M%S')}.log"
    for folder in (Path(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        say(f"error: a defect of the simulator ({type(error).__name__}: {error}); details in {folder / name}")
        return 1
    say(f"error: a defect of the simulator, and no folder for its log can be written to:\n{text}")
    return 1


def _is_wrong_input(error: Exception) -> bool:
    """Whether the command line or the study is wrong, rather than the simulator."""
    from simulator.spec import SimulatorError

    return isinstance(error, SimulatorError) or hasattr(error, "format_message")


def _load(config: Path, assignments: list[str] | None, **replaced: Any) -> Any:
    from simulator.spec import ConfigError
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
