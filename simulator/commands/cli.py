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
from typing import Annotated, NoReturn

import typer

import simulator
from simulator.commands.terminal import make_ready, say
from simulator.commands.typed import proof, records, results, studies

_BY_SIGNAL = 128
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
_GOES_ON = "what was finished is kept, the same command goes on from there"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"{_GOES_ON} once there is room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "ask for the right to do so, or name another place"),
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST), f"move away what stands there, or name another place; {_GOES_ON}"
    ),
    **dict.fromkeys((errno.EIO, errno.ESTALE), f"the disk does not answer; {_GOES_ON} once it does"),
    errno.ENOLCK: "this disk grants no locks and none are needed: set HDF5_USE_FILE_LOCKING=FALSE",
}

app = typer.Typer(
    help="Monte Carlo simulation of treatment-plan robustness for SBRT of lymph-node oligometastases. "
    "Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


for _command in (
    studies.run,
    studies.check,
    records.inspect,
    studies.init,
    studies.examples,
    studies.schema,
    results.compare,
    proof.validate,
    studies.margins,
    proof.reproduce,
    results.report,
    results.export,
    results.course,
    records.errors,
    records.motion,
):
    app.command()(_command)


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
    from simulator.ground.spec import SimulatorError

    return isinstance(error, SimulatorError) or hasattr(error, "format_message")
