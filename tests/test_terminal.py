"""What reaches a terminal: no orders from names in files, any encoding, its own width, and no user's settings in figures."""

import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest
import yaml
from dicom_factory import write_phantom_dicom
from test_folders import STUDY

from simulator.commands.cli import main
from simulator.ground.files import printable

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def simulator(*arguments, cwd, encoding="utf-8"):
    """Exit code and bytes of a command, run in this process with its output piped in an encoding."""
    out, err = (TextIOWrapper(BytesIO(), encoding=encoding) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["simulator", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    shown = []
    for stream in (out, err):
        stream.flush()
        shown.append(stream.buffer.getvalue())
    return SimpleNamespace(returncode=end.value.code or 0, stdout=shown[0], stderr=shown[1])


@pytest.mark.parametrize("text", ["\x1b[31m", "\x07", "a\rb", "\x9b2J", "\x00", "\x7f", "\u202egnp.exe", "\u2066"])
def test_control_characters_are_written_out(text):
    assert printable(text).isprintable()
    assert printable(text) != text


@pytest.mark.parametrize("text", ["Pęcherz", "Σ ≥ 2 mm", "肝臓", "two\nlines\tand a tab", "a\u200db"])
def test_letters_stay(text):
    assert printable(text) == text


def _is_clean(done):
    return not any(byte in done.stdout + done.stderr for byte in (b"\x1b", b"\x07", b"\xc2\x9b"))


def test_names_in_files_give_the_terminal_no_orders(tmp_path):
    folder = write_phantom_dicom(tmp_path / "dicom")
    data = pydicom.dcmread(folder / "rs_1.dcm", force=True)
    for roi in data.StructureSetROISequence:
        if roi.ROIName != "GTV":
            roi.ROIName = f"{roi.ROIName}{ESCAPE}"
    data.StructureSetLabel = ESCAPE
    data.save_as(folder / "rs_1.dcm")
    raw = STUDY | {"case": {"dicom": "dicom"}, "plan": {"model": "conformal-arc"}}
    for name, change in {"good": {}, "bad": {"goals": [f"{ESCAPE} D98% >= 95%"]}, "worse": {ESCAPE: 1}}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(raw | change), encoding="utf-8")
    shown = simulator("inspect", "dicom", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert b"\\x1b" in shown.stdout
    for arguments in (
        ("check", "good.yaml"),
        ("check", "bad.yaml"),
        ("check", "worse.yaml"),
        ("check", ESCAPE),
        (ESCAPE,),
    ):
        assert _is_clean(simulator(*arguments, cwd=tmp_path)), arguments
    assert _is_clean(shown)


def test_letters_that_the_encoding_lacks_are_replaced(tmp_path):
    raw = STUDY | {"uncertainty": {"setup": {"systematic_mm": 1, "random_mm": 1}}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for encoding in ("cp1252", "ascii", "cp437"):
        done = simulator("check", "s.yaml", cwd=tmp_path, encoding=encoding)
        assert done.returncode == 0, done.stderr
        assert b"The study is valid." in done.stdout


def test_signs_of_our_own_are_ascii_where_the_encoding_is_none_of_unicode(tmp_path):
    """Letters of names are as the encoding has them."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    command = ("run", "s.yaml", "--no-report", "--quiet", "--out")
    done = simulator(*command, "Größe", cwd=tmp_path, encoding="cp1252")
    assert done.returncode == 0, done.stderr
    assert b'\n"none, 3 mm, none" ' in done.stdout.replace(b"\r", b"")
    assert done.stdout.isascii()
    assert "Größe" in done.stderr.decode("cp1252")
    assert "“none, 3 mm, none” " in simulator(*command, "r", cwd=tmp_path).stdout.decode()


@pytest.mark.parametrize("columns", [60, 90, 200])
def test_piped_tables_are_as_wide_as_columns_says(columns, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    shown = simulator("check", "s.yaml", cwd=tmp_path).stdout.decode()
    assert max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize("columns", [None, "0", "", "-5", "wide"])
def test_piped_tables_without_columns_fit_a_page(columns, tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False) if columns is None else monkeypatch.setenv("COLUMNS", columns)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY | {"case": {"phantom": "pelvic"}}), encoding="utf-8")
    shown = simulator("check", "s.yaml", cwd=tmp_path).stdout.decode()
    assert max(map(len, shown.splitlines())) in range(100, 121)
    assert "The study is valid." in shown


def test_figures_do_not_depend_on_a_users_settings(tmp_path):
    settings = ("text.usetex: True", "axes.prop_cycle: cycler('color', ['w'])", "savefig.dpi: 3", "")
    (tmp_path / "matplotlibrc").write_text("\n".join(settings), encoding="utf-8")
    script = (
        "import hashlib\nfrom simulator.commands.terminal import make_ready\nmake_ready()\n"
        "from synthetic_results import synthetic_results\nfrom simulator.plots import pareto_front, svg_bytes\n"
        "print(hashlib.sha256(svg_bytes(pareto_front(synthetic_results()))).hexdigest())"
    )
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "MPLBACKEND": "a backend of none",
        "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent))),
    }
    found = [
        subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, env=environment)
        for cwd in (here, tmp_path)
    ]
    assert found[1].returncode == 0, found[1].stderr
    assert found[0].stdout == found[1].stdout
