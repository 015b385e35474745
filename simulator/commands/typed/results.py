"""Results: commands that begin with finished results."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.commands.terminal import console, say, tell, text_table


def report(folder: Annotated[Path, typer.Argument(help="results folder", metavar="DIR")]) -> None:
    """Write report.html and summary.pdf again from results.nc."""
    from simulator.execution.folder import is_run_folder
    from simulator.ground.files import refuse_existing
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
    from simulator.ground.files import refuse_existing
    from simulator.ground.spec import ConfigError
    from simulator.results.file import open_results

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
    from simulator.ground.files import require_own
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
