"""Records: commands that read what a clinic has recorded."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.commands.terminal import console, say, tell, text_table


def inspect(path: Annotated[Path, typer.Argument(help="DICOM folder, case file or folder of motion traces")]) -> None:
    """Say what a DICOM folder or a case file holds, and what is missing."""
    from simulator.case.inventory import inventory

    for title, columns, rows in inventory(path).sections():
        console().print(text_table(title, columns, rows))


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
    from simulator.ground.files import printable, require_own
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
    from simulator.ground.files import printable, require_own

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
