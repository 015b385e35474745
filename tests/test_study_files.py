"""What a study file says is what is simulated, or a message with file, line, key and remedy."""

import sys
import typing
from types import UnionType

import pytest
import yaml
from test_messages import GOOD, message_of

from simulator.ground.spec import ConfigError, Spec
from simulator.study_file.checked_yaml import parse_yaml, to_yaml
from simulator.study_file.cluster import load_cluster
from simulator.study_file.loading import load_study
from simulator.study_file.published import GoalLibrary
from simulator.study_file.schema import StudyConfig

SETUP = "systematic_mm: [1, 1, 1]"
DOSE = "dose_gy: 50"
STRATEGIES = "strategies:\n  margins_mm: [3]\n  motion: [none]\n  guidance: [none]\n"
RESPIRATION = "  respiration: {amplitude_mm: 5, period_s: 4}\nstrategies:"


@pytest.mark.parametrize("number", ["1:59", "1:59:30", "1:59.5", "-1:30", "012", "007", "089", "0x1F", "0o17", "0b11",
                                    "1_000", "1_0.5", "00.5", "+012"])  # fmt: skip
@pytest.mark.parametrize("place", [DOSE, SETUP])
def test_numbers_that_readers_of_yaml_disagree_about_are_refused(number, place, tmp_path):
    line = {DOSE: 3, SETUP: 7}[place]
    message = message_of(GOOD.replace(place, f"{place.split(':')[0]}: {number}"), tmp_path)
    assert message == (
        f"DIR/study.yaml:{line}: {number} means different things to different readers; write a plain decimal number, or "
        "put a time or a name in quotes"
    )


@pytest.mark.parametrize(("text", "value"), [("5e1", 50), ("5.0e+1", 50), ("+50", 50), ("50.", 50), (".5e2", 50)])
def test_plain_decimal_numbers_are_read(text, value, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace(DOSE, f"dose_gy: {text}"))
    assert load_study(tmp_path / "a.yaml").prescription.dose_gy == value


@pytest.mark.parametrize(
    "text", ["NO", "yes", "on", "off", "2024-01-01", "1e3", "012", "1:59", "5", "null", "a: b", "*x", "#"]
)
def test_names_survive_being_written_and_read_again(text):
    written = to_yaml({"name": text})
    assert parse_yaml(written, "a.yaml")[0] == {"name": text}
    assert yaml.safe_load(written) == {"name": text}


@pytest.mark.parametrize("text", ["00:30:00", "04:00", "0:15:00"])
def test_times_that_every_reader_of_yaml_takes_for_text_need_no_quotes(text):
    assert parse_yaml(f"walltime: {text}", "queue.yaml")[0] == yaml.safe_load(f"walltime: {text}") == {"walltime": text}


@pytest.mark.parametrize("truth", ["true", "false", "True"])
@pytest.mark.parametrize(
    ("place", "key", "line"),
    [
        (DOSE, "prescription.dose_gy", 3),
        ("fractions: 5", "prescription.fractions", 3),
        (SETUP, "uncertainty.setup.systematic_mm", 7),
        ("margins_mm: [3]", "strategies.margins_mm", 10),
        ("motion: [none]", "strategies.motion", 11),
        ("radius_mm: 10", "case.radius_mm", 2),
    ],
)
def test_true_is_no_number_and_no_name(truth, place, key, line, tmp_path):
    name, value = place.split(": ", 1)
    for shape in (truth, f"[{truth}, 1, 1]") if "[" in value else (truth,):
        message = message_of(GOOD.replace(place, f"{name}: {shape}"), tmp_path)
        assert message.startswith(f"DIR/study.yaml:{line}: {key}")
        assert f"wanted, got {truth.lower()}" in message


def test_true_is_read_where_it_is_wanted(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("penumbra}", "penumbra, gridded: true}"))
    assert load_study(tmp_path / "a.yaml").plan.gridded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((SETUP, "systematic_mm: 2 mm"), "systematic_mm: a number is wanted, got '2 mm'; write 2, without the unit"),
        ((SETUP, "systematic_mm: '1,5'"), ":7: uncertainty.setup.systematic_mm: a number is wanted, got '1,5'; write 1.5"),
        ((DOSE, "dose_gy: 50 Gy"), "number, got '50 Gy'; write 50, without the unit"),
        ((DOSE, "dose_gy: ５０"), "unable to parse string as a number, got '５０'"),
        (("name: study", f"name: {'s' * 81}"), ":1: name: letters, digits, '_', '-' and '.', at most 80, make a name"),
        ((DOSE, "dose_gy: null"), ":3: prescription.dose_gy: has to be a valid number, got nothing"),
        ((DOSE, "dose_gy: .nan"), ":3: prescription.dose_gy: has to be a finite number, got nan"),
        ((DOSE, "dose_gy: .inf"), ":3: prescription.dose_gy: has to be a finite number, got inf"),
        (("setup:\n    systematic_mm: [1, 1, 1]\n    random_mm: [1, 1, 1]\n", "setup: 1.0\n"),
         ":6: uncertainty.setup: a mapping of keys (systematic_mm, random_mm, mean_mm ...) is wanted, got 1.0"),
        (("name: study", "name: 2024"), ":1: name: text is wanted, got 2024; put it in quotes"),
        (("[3]", "[!!python/tuple [3]]"), ":10: the tag !!python/tuple is not known here; write a plain value"),
        (("[3]", "[!banana 3]"), ":10: the tag !banana is not known here; write a plain value"),
        (("[3]", "[!!binary aGk=]"), ":10: the tag !!binary is not known here; write a plain value"),
        (("[3]", "[!!int x]"), ": cannot be read ("),
        (("name: study", 'name: "a\\0b"'), ":1: the character '\\x00' has no place in a study; remove it"),
        (("name: study", 'name: "a\\e[31m"'), ":1: the character '\\x1b' has no place in a study; remove it"),
        (("name: study", 'name: "\\ud800"'), ""),
        (("[3]", "&a [*a]"), ":10: more than 50000 values or 40 levels once aliases"),
        (("[3]", "[" * 100 + "]" * 100), ":10: nested more than 40 levels deep"),
        (("[3]", "[" * 100_000), ":10: nested more than 40 levels deep"),
        (("[3]", "[" + "3, " * 60_000 + "3]"), ":10: more than 50000 values"),
        (("[3]", "[3, *b]"), ":10: YAML syntax: found undefined alias"),
        (("[3]", "{? [1]: 2}"), ""),
        ((STRATEGIES, "strategies: []\n"), ":9: strategies: at least 1 wanted, got 0"),
        (('["GTV D98% >= 95%"]', "[]"), "goals: none given"),
        (('"GTV D98% >= 95%"', '"GTV D98% >= 0.95"'), ":13: goals.0: goal 'GTV D98% >= 0.95': 0.95 of what?"),
        (('"GTV D98% >= 95%"', '"GTV D98% >= 95%", "GTV D98% >= 47.5 Gy"'), "and 'GTV D98% >= 47.5 Gy' say the same"),
        (('"GTV D98% >= 95%"', '"GTV D98% >= 95%", "GTV D98% >= 95%"'), "goals: 'GTV D98% >= 95%' is given twice; remove one"),
        (("[3]", "[500]"), ":10: strategies.margins_mm.0: has to be less than or equal to 50, got 500"),
        (("strategies:", RESPIRATION.replace("4}", "1e-300}")), ":9: uncertainty.respiration.period_s: has to be"),
        (("strategies:", RESPIRATION.replace(": 5", ": 5000")), ":9: uncertainty.respiration.amplitude_mm"),
        (("name: study", "name: study\ncourses: 1e12"), ":2: courses: has to be less than or equal to 10000000"),
        (("name: study", "name: study\nnumerics: {instants: 1000}\ncourses: 4000"), ":1: numerics.instants: 20020000 moments"),
        (("name: study", "name: study\nsession: {dose_rate_gy_per_min: 0.1}\nprescription: {dose_gy: 50, fractions: 1}"), ""),
        (("systematic_mm: [1, 1, 1]\n    random", "systematic_mm: 50\n    mean_mm: 90\n    random"), "3 mm, none' displaces"),
        (("systematic_mm: [1, 1, 1]\n    random", "systematic_mm: 38\n    random"), "displaces the patient by 128 mm in a"),
        (("[3]", "[van-herk]\n  # "), ""),
    ],
)  # fmt: skip
def test_nonsense_is_told_with_its_line(change, message, tmp_path):
    assert change[0] in GOOD
    text = GOOD.replace(*change)
    if not message:
        try:
            load_study(_written(text, tmp_path))
        except ConfigError as error:
            message = str(error)
        return
    told = message_with_reach(text, tmp_path)
    assert message in told
    assert len(told) < 500


def test_dose_lattices_beyond_memory_are_refused_before_anything_is_simulated(tmp_path):
    """A target of a million fine cells that is displaced by centimetres."""
    text = GOOD.replace("systematic_mm: [1, 1, 1]\n    random", "systematic_mm: 30\n    random")
    told = message_with_reach(f"{text}\nnumerics: {{max_points: 1000000}}\n", tmp_path)
    assert "a dose lattice that reaches wherever GTV is displaced to: " in told
    assert told.endswith(
        "lower numerics.max_points, raise numerics.target_lattice_mm, or lower the errors and motion of the study"
    )
    assert len(told) < 500


def message_with_reach(text, tmp_path):
    from prepared import problems_of

    with pytest.raises(ConfigError) as error:
        problems_of(load_study(_written(text, tmp_path)))
    return str(error.value).replace(str(tmp_path), "DIR")


def _written(text, tmp_path):
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    return tmp_path / "study.yaml"


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(12)]
    merged = ["m0: &m0 {x: 1}"]
    merged += [f"m{k + 1}: &m{k + 1} {{<<: [{', '.join([f'*m{k}'] * 10)}]}}" for k in range(12)]
    for lines in (levels, merged):
        with pytest.raises(ConfigError, match="more than 50000 values"):
            parse_yaml("\n".join(lines), "study.yaml")


def test_an_alias_and_a_merge_that_a_person_writes_are_read():
    text = "a: &a {x: 1, y: [2, 3]}\nb: *a\nc: {<<: *a, x: 5}\n"
    assert parse_yaml(text, "a.yaml")[0]["c"] == {"x": 5, "y": [2, 3]}


@pytest.mark.parametrize("load", [load_study, load_cluster])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", "# Größe".encode("latin-1"), b"- 1\n", b"3\n", b"a: [", b"\x00"]
)
def test_what_is_no_study_is_refused_by_name(load, content, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    for path in (file, tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError) as told:
            load(path)
        assert str(told.value).startswith(str(path))


def numbers_of(annotation, marks=()):
    """Every number that a type takes, as (lower bound is given, upper bound is given)."""
    if annotation in (int, float):
        named = [m for mark in marks for m in (mark, *getattr(mark, "metadata", ()))]
        has = {name for m in named for name in ("ge", "gt", "le", "lt") if getattr(m, name, None) is not None}
        yield bool(has & {"ge", "gt"}), bool(has & {"le", "lt"})
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from numbers_of(typing.get_args(annotation)[0], annotation.__metadata__)
    elif typing.get_origin(annotation) in (tuple, dict, typing.Union, UnionType):
        inner = marks if typing.get_origin(annotation) in (typing.Union, UnionType) else ()
        for part in typing.get_args(annotation):
            yield from numbers_of(part, inner)


def every_spec(spec=Spec):
    for inner in spec.__subclasses__():
        yield inner
        yield from every_spec(inner)


@pytest.mark.parametrize(
    "spec", [s for s in every_spec() if s.__module__.startswith("simulator.")], ids=lambda s: s.__name__
)
def test_every_number_of_every_key_has_bounds(spec):
    assert StudyConfig
    assert GoalLibrary
    published, texts = ("PublishedTissue",), ("labels",)
    for name, field in spec.model_fields.items():
        if spec.__name__ not in published and name not in texts:
            assert all(low and high for low, high in numbers_of(field.annotation, field.metadata)), (
                f"{name} has no bounds"
            )


def test_mistakes_are_blamed_on_their_own_keys(tmp_path):
    text = GOOD.replace("case: {phantom: sphere, radius_mm: 10}", "case: {dicom: nowhere, KEY}")
    for key, value in {"end_caps": "foo", "rtdoses": "RD1.dcm", "rtplan": 12, "target": "[GTV]", "aliases": 3,
                       "densities": "{GTV: -1}",
                       "dose_is": "none", "keep_identity": "maybe", "targt": "GTV"}.items():  # fmt: skip
        message = message_of(text.replace("KEY", f"{key}: {value}"), tmp_path)
        assert message.startswith(f"DIR/study.yaml:2: case.{key}"), message
    archive = text.replace("dicom: nowhere", "file: nowhere")
    for key, value in {"end_caps": "foo", "ball": "{centre_mm: 1, radius_mm: -1}", "structures": "GTV"}.items():
        assert f"case.{key}" in message_of(archive.replace("KEY", f"{key}: {value}"), tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{goal: GTV D98% >= 9500%, source: x}", ":4: goal 'GTV D98% >= 9500%': a limit lies between 0 and 500 %"),
        ("{goal: GTV 95%, source: x}", ":4: goal 'GTV 95%' cannot be read"),
        ("{goal: 5, source: x}", ":4: goals.0.goal: text is wanted, got 5"),
        ("{goal: GTV D98% >= 95%}", ":4: goals.0.source: this key is missing"),
        ("{goal: GTV D98% >= 95%, source: x, checked: 5}", ":4: goals.0.checked"),
        ("[]", ":4: goals.0: a mapping of keys (goal, level, source ...) is wanted"),
    ],
)
def test_flaws_of_a_file_of_goals_are_told_with_its_line(row, message, tmp_path):
    (tmp_path / "own.yaml").write_text(f"name: own\nfractions: 5\ngoals:\n  - {row}\n")
    told = message_of(GOOD.replace('"GTV D98% >= 95%"', "own.yaml"), tmp_path)
    assert told.startswith(f"DIR/own.yaml{message}")


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are shorter elsewhere")
@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000 + "b.yaml"])
def test_paths_that_no_disk_has_are_told(path, tmp_path):
    for change in (
        ("{phantom: sphere, radius_mm: 10}", f"{{dicom: {path}}}"),
        ("{phantom: sphere, radius_mm: 10}", f"{{file: {path}}}"),
        ('"GTV D98% >= 95%"', f"{path}.yaml"),
        ("strategies:", f"  respiration: {{amplitude_mm: 5, trace: {path}}}\nstrategies:"),
    ):
        assert "File name too long" in message_of(GOOD.replace(*change), tmp_path)
