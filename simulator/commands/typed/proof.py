"""Proof: commands that hold the simulator against closed forms and published values."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.commands.terminal import console, say, text_table


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


def reproduce(
    name: Annotated[str | None, typer.Argument(help="one of them (default: all)", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="page in Markdown to write")] = None,
) -> None:
    """Simulate published studies and say which of their values are found again, and why others are not."""
    from simulator.commands.reproduce import reproduce as reproduced
    from simulator.commands.reproduce import rows_of, write_page
    from simulator.ground.files import refuse_existing

    if out is not None:
        refuse_existing(out)
    done = list(reproduced(name))
    console().print(text_table("Published studies, simulated", *rows_of(done)))
    if out is not None:
        write_page(done, out)
        say(f"wrote {out}")
