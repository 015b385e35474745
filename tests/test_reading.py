"""The door through which users' files come: every failure is a message with place, reason and remedy."""

import os
import struct
import sys
import zipfile
import zlib

import pytest

from simulator.ground.reading import check_room, read_text, reading
from simulator.ground.spec import CaseError, ConfigError

REMEDY = "export it again"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory"), "cannot be read (No such file or directory)"),
        (MemoryError(), "needs more memory than there is"),
        (RecursionError("maximum recursion depth exceeded"), "is nested too deeply"),
        (KeyError("labels"), "labels is missing"),
        (AttributeError("no attribute", name="PixelSpacing", obj=None), "PixelSpacing is missing"),
        (EOFError("no data left"), "is damaged or cut short (no data left)"),
        (zipfile.BadZipFile("bad CRC"), "is damaged or cut short (bad CRC)"),
        (zlib.error("invalid block"), "is damaged or cut short (invalid block)"),
        (struct.error("4 bytes wanted"), "is damaged or cut short (4 bytes wanted)"),
        (ValueError("could not convert 'a'\nsecond line"), "cannot be read (could not convert 'a')"),
        (IndexError(), "cannot be read (IndexError)"),
        (ZeroDivisionError("division by zero"), "cannot be read (division by zero)"),
    ],
)
def test_whatever_goes_wrong_is_a_message(error, words):
    with pytest.raises(ConfigError) as told, reading("dose.dcm", REMEDY, ConfigError):
        raise error
    assert str(told.value) == f"dose.dcm: {words}; {REMEDY}"
    assert told.value.__cause__ is error


def test_messages_of_ours_pass_and_the_innermost_place_is_named():
    with pytest.raises(CaseError, match=r"^a\.dcm: Rows: cannot be read \(x\); "), reading("a.dcm", REMEDY):  # noqa: SIM117
        with reading("a.dcm: Rows", REMEDY):
            raise ValueError("x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_its_mark(encoding, tmp_path):
    (tmp_path / "a.yaml").write_bytes("# Größe\n".encode(encoding))
    assert read_text(tmp_path / "a.yaml", REMEDY) == "# Größe\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x: 1\n# Größe\n".encode("latin-1"), ":2: byte 0xf6 is not UTF-8; save it as UTF-8"),
        ("x: 1\n# Größe\n".encode("cp437"), ":2: byte 0x94 is not UTF-8; save it as UTF-8"),
        ("x: 1\n".encode("utf-16"), ":1: byte 0xff is not UTF-8; save it as UTF-8"),
        ("x: 1\n".encode("utf-16-be"), ":1: a NUL character is no text; save it as UTF-8"),
        ("x: 1\n".encode("utf-32-le"), ":1: a NUL character is no text; save it as UTF-8"),
        (b"x: 1\ny: \0", ":2: a NUL character is no text; save it as UTF-8"),
    ],
)
def test_other_encodings_are_refused_with_their_line(content, message, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(CaseError) as told:
        read_text(file, REMEDY)
    assert str(told.value).startswith(f"{file}{message}")


def test_what_is_no_file_or_too_long_is_refused(tmp_path):
    with (tmp_path / "long.yaml").open("wb") as file:
        file.truncate(1 << 30)
    for name, words in (("", "Is a directory"), ("none", "No such file"), ("long.yaml", "longer than 64 MB")):
        with pytest.raises(CaseError, match=words):
            read_text(tmp_path / name, REMEDY)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_that_nobody_writes_to_is_refused_and_that_of_a_shell_is_read(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(CaseError, match=r"a\.yaml: cannot be read \(it is a pipe, which may never end\)"):
        read_text(tmp_path / "a.yaml", REMEDY)
    ours, theirs = os.pipe()
    os.write(theirs, b"x: 1\n")
    os.close(theirs)
    assert read_text(f"/dev/fd/{ours}", REMEDY) == "x: 1\n"
    os.close(ours)


@pytest.mark.parametrize("n_bytes", [26 * 2**30, float("inf"), float("nan")])
def test_memory_is_refused_before_it_is_asked_for(n_bytes):
    check_room(2**30, "ct", REMEDY)
    with pytest.raises(CaseError, match=r"^ct: .* GiB of memory wanted"):
        check_room(n_bytes, "ct", REMEDY)
