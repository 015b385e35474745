"""Write reference/commands.md from the command line itself: `python docs/make_commands.py`."""

import typing
from pathlib import Path

import typer

from simulator.commands.cli import app

HEAD = """# Commands and exit codes

Written by `docs/make_commands.py` from the command line itself. `simulator COMMAND --help` says the same in a terminal;
`python -m simulator` is `simulator`. Progress goes to standard error (a live bar on a terminal, plain lines otherwise),
answers to standard output.

## Exit codes
| code | meaning |
|---|---|
| 0 | done |
| 1 | a defect of the simulator; the traceback is in the log file that the message names |
| 2 | the input is wrong: one message on standard error says what, where and how to mend it; nothing was changed |
| 129, 130, 143 | stopped by SIGHUP, Ctrl-C or SIGTERM; what was finished is kept, the same command goes on from there |

`simulator validate` ends with 1 when a row of its table fails.
"""

EXAMPLES = {
    "run": "simulator run configs/setup_sweep.yaml --courses 100 --set strategies.margins_mm=[5] --out results/few",
    "check": "simulator check configs/mediastinal_node.yaml",
    "inspect": "simulator inspect path/to/dicom",
    "init": "simulator init --site pelvic --out my.yaml",
    "report": "simulator report path/to/results",
    "examples": "simulator examples",
    "schema": "simulator schema --out study.schema.json",
    "margins": 'simulator margins path/to/my.yaml --strategy "itv, 5 mm, online-target" --organ Esophagus',
    "reproduce": "simulator reproduce chang_2017",
    "compare": "simulator compare path/to/results path/to/others --out comparison",
    "validate": "simulator validate --quick",
    "export": 'simulator export path/to/results --strategy "itv, 5 mm, online-target" --map p95 --out p95.dcm',
    "course": 'simulator course path/to/results --strategy "itv, 5 mm, online-target" --percentile 5',
    "errors": "simulator errors configs/shift_log.csv --convention iec61217",
    "motion": "simulator motion path/to/4dct --target GTV_node --out motion",
}
VALUES = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def value_of(annotation: object) -> str:
    """What stands after an option: N, X, TEXT or PATH."""
    kinds = [annotation, *typing.get_args(annotation)]
    kinds += [part for kind in kinds for part in typing.get_args(kind)]
    return next(word for kind, word in VALUES.items() if kind in kinds)


def section(name: str, command: typer.core.TyperCommand) -> list[str]:
    """Heading, purpose, example, arguments and options of one command."""
    assert name in EXAMPLES, f"simulator {name} wants an example in docs/make_commands.py"
    hints = typing.get_type_hints(command.callback)
    arguments = [p for p in command.params if isinstance(p, typer.core.TyperArgument)]
    usage = " ".join((p.metavar or p.name).upper() for p in arguments)
    lines = [
        f"## simulator {name}",
        "",
        command.help or "",
        "",
        "```text",
        f"simulator {name} {usage} [OPTIONS]".replace("  ", " "),
    ]
    lines += [
        "```",
        "",
        "```sh",
        EXAMPLES[name],
        "```",
        "",
        "| argument or option | default | meaning |",
        "|---|---|---|",
    ]
    for p in command.params:
        if p in arguments:
            shown = f"`{(p.metavar or p.name).upper()}`"
        else:
            value = "" if p.is_flag else f" {p.metavar or value_of(hints[p.name])}"
            shown = ", ".join(f"`{opt}{value}`" for opt in p.opts)
        default = "required" if p.required else "" if p.default in (None, False) else f"`{p.default}`"
        lines.append(
            f"| {shown.replace('|', chr(92) + '|')} | {default} | {(p.help or '').replace('|', chr(92) + '|')} |"
        )
    return [*lines, ""]


def commands_page() -> str:
    """The whole page."""
    commands = typer.main.get_command(app).commands
    contents = " · ".join(f"[{name}](#simulator-{name})" for name in commands)
    lines = [HEAD, contents, ""]
    for name, command in commands.items():
        lines += section(name, command)
    return "\n".join(lines)


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "commands.md").write_text(commands_page(), encoding="utf-8")
