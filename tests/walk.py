"""Walk five questions: a fresh environment, the one page that answers each, its commands as they stand, and their minutes.

`python tests/walk.py [--courses 200] [--out FILE]` installs the checkout anew and writes tests/walked.md. What a
page calls path/to/... is invented data of the tests.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from phases_factory import write_4dct

ROOT = Path(__file__).parents[1]
INSTALL = "python -m pip install -c constraints.txt ."
BLOCK = re.compile(r'^( *)```(sh|python|yaml title="([^"]+)")\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
HEAD = """# Five questions, walked

`python tests/walk.py` follows the one page that answers each question in a fresh environment, with its commands
as they stand{courses}. Minutes are of the clock, on {processors} processors that other work shared, and of
the processors. Installing took {install[0]:.1f} ({install[1]:.1f}) minutes.

| question | page | command | minutes, clock | processor |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Question:
    """A question of a physicist, and the page (under docs/) that answers it."""

    asked: str
    page: str
    data: dict[str, str] = field(default_factory=dict)


QUESTIONS = (
    Question("How do I enter my clinic's setup error?", "tutorials/from-shift-log-to-margin.md"),
    Question("How does my own 4DCT get in?", "how-to/your-4dct.md", {"path/to/4dct": "4dct"}),
    Question(
        "One dose for each margin from my planning system?", "how-to/dose-per-margin-from-your-planning-system.md"
    ),
    Question("How do I validate it?", "how-to/commissioning.md"),
    Question("How do I cite it?", "how-to/citing.md"),
)


def steps(question: Question, folder: Path) -> list[str]:
    """Commands of a page in their order; files that it shows with a title are written when their turn comes."""
    found = []
    for indent, language, title, text in BLOCK.findall((ROOT / "docs" / question.page).read_text(encoding="utf-8")):
        text = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
        for name, stand_in in question.data.items():
            text = text.replace(name, stand_in)
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        elif language == "python":
            script = folder / f"block-{len(found)}.py"
            script.write_text(text, encoding="utf-8")
            found.append(f"python {script.name}")
        else:
            found += [
                line for line in text.splitlines() if line and "pip install" not in line and "path/to" not in line
            ]
    return found


def minutes_of(command: str, folder: Path, environment: Path) -> tuple[float, float]:
    """Run a command in a folder with an environment, and say how long it took, on the clock and on the processors."""
    path = f"{environment / ('Scripts' if os.name == 'nt' else 'bin')}{os.pathsep}{os.environ['PATH']}"
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        command, shell=True, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return (time.monotonic() - began) / 60, busy / 60


def walked(question: Question, environment: Path, courses: int | None) -> list[tuple[str, float, float]]:
    """Every command of the page that answers a question, with its minutes."""
    folder = Path(tempfile.mkdtemp(prefix="walk-"))
    for name in ("configs", "docs"):
        (folder / name).symlink_to(ROOT / name)
    if "4dct" in question.data.values():
        write_4dct(folder / "4dct")
    rows = []
    for command in steps(question, folder):
        fewer = f" --courses {courses}" if courses and command.startswith("simulator run") else ""
        rows.append((command, *minutes_of(command + fewer, folder, environment)))
        print(f"{rows[-1][1]:6.1f} min  {command}", flush=True)
    return rows


def main() -> None:
    """Walk all of them and file what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, help="fewer courses for each `simulator run`")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "walked.md")
    asked = parser.parse_args()
    environment = Path(tempfile.mkdtemp(prefix="walk-")) / ".venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install = minutes_of(INSTALL, ROOT, environment)
    fewer = f" (`--courses {asked.courses}` added to each run)" if asked.courses else ""
    lines = [HEAD.format(courses=fewer, processors=os.cpu_count(), install=install)]
    for question in QUESTIONS:
        page = f"[{Path(question.page).stem}]({os.path.relpath(ROOT / 'docs' / question.page, asked.out.parent)})"
        for i, (command, clock, busy) in enumerate(walked(question, environment, asked.courses)):
            first = (question.asked, page) if i == 0 else ("", "")
            shown = "the page's Python block" if command.startswith("python ") else f"`{command}`"
            lines.append(f"| {first[0]} | {first[1]} | {shown} | {clock:.1f} | {busy:.1f} |\n")
    asked.out.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
