"""Every command and every Python block of README and documents: options exist, and they run as they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import matplotlib as mpl
import pytest
import typer

from simulator.commands.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
COMMANDS = typer.main.get_command(app).commands
# Commands on somebody's own files are left out; so are those that make an environment, and a page that has its own test.
OWN_FILES, INSTALLS, TESTED_ELSEWHERE = "path/to", ("python3 -m venv", "pip install"), "imported_plans.md"
QUICK = ("init", "inspect", "examples")


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block, in order."""
    found = re.findall(r"^ *```(sh|python)\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, dedent(text)) for language, text in found]


def write_shown_files(path: Path, folder: Path) -> None:
    """What a page shows under the name of a file, it counts on."""
    shown = re.findall(
        r'^```yaml title="([^"]+)"\n(.*?)^```', path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for name, text in shown:
        (folder / name).write_text(text, encoding="utf-8")


def lines_of(path: Path) -> list[str]:
    """Every command of a page."""
    shell = "\n".join(text for language, text in blocks(path) if language == "sh").replace("\\\n", " ")
    return [line.strip() for line in shell.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def runs(text: str) -> bool:
    return OWN_FILES not in text and not any(words in text for words in INSTALLS)


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


WITH_COMMANDS = [path for path in PAGES if lines_of(path)]
TO_RUN = [path for path in PAGES if any(runs(text) for _, text in blocks(path)) and path.name != TESTED_ELSEWHERE]


@pytest.fixture
def checkout(tmp_path):
    """A folder with what a page counts on beside it, and room for what its commands write."""
    for name in ("configs", "docs", "notebooks", "tests", "benchmarks", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=page_name)
def test_commands_have_the_options_that_documents_give_them(path):
    for line in lines_of(path):
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            if words and Path(words[0]).name == "simulator":
                assert words[1] in COMMANDS, line
                COMMANDS[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize("path", [p for p in WITH_COMMANDS if p.name != TESTED_ELSEWHERE], ids=page_name)
def test_quick_commands_run(path, checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    for words in (shlex.split(line, comments=True) for line in lines_of(path) if runs(line)):
        if words[0] == "simulator" and words[1] in QUICK:
            app(words[1:], standalone_mode=False)


@pytest.mark.nightly
@pytest.mark.parametrize("path", TO_RUN, ids=page_name)
def test_a_page_runs_from_top_to_bottom(path, checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    mpl.use("Agg")
    here = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    write_shown_files(path, checkout)
    names: dict = {}
    for language, text in blocks(path):
        if language == "python" and runs(text):
            exec(text, names)
        elif language == "sh":
            for line in (line for line in text.replace("\\\n", " ").splitlines() if runs(line)):
                done = subprocess.run(["bash", "-c", line], cwd=checkout, env=here, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
