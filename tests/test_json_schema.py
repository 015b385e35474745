"""The JSON Schema of a study file says what the loader says, as far as one key at a time can tell."""

import json
from pathlib import Path
from random import Random

import jsonschema
import pytest
import yaml
from fuzz.studies import mutated_study
from test_messages import GOOD
from typer.testing import CliRunner

from simulator.commands.cli import app
from simulator.ground.spec import ConfigError
from simulator.study_file.checked_yaml import parse_yaml
from simulator.study_file.json_schema import FILE, schema_text, study_schema
from simulator.study_file.loading import load_study

CONFIGS = Path(__file__).parents[1] / "configs"
LINE = f"# yaml-language-server: $schema={FILE}"
SCHEMA = study_schema()
ORACLE = jsonschema.Draft7Validator(SCHEMA)
ALONE = (
    "unknown key",
    "is not known here",
    "key is missing",
    "or equal to",
    "3 values wanted",
    "is wanted, got",
    "at least",
)
GRID = "strategies:\n  margins_mm: [3]\n  motion: [none]\n  guidance: [none]\n"


def is_accepted(text: str, folder: Path) -> tuple[bool, str]:
    """Whether the loader takes a study, and what it says."""
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    try:
        load_study(folder / "study.yaml")
    except ConfigError as error:
        return False, str(error)
    return True, ""


def test_the_file_beside_the_studies_is_the_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    text = (CONFIGS / FILE).read_text(encoding="utf-8")
    assert text == schema_text(), f"run: simulator schema --out configs/{FILE}"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_name_the_schema_and_keep_to_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == LINE
    ORACLE.validate(parse_yaml(text, path.name)[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[3]", "3"),
        ("[3]", "van-herk"),
        ("[3]", "[[1, 2, 3], 4, stroom, {recipe: van-herk, coverage_percent: 95}]"),
        ("motion: [none]", "motion: {kind: gating, window_percent: 30}"),
        ("motion: [none]", "motion: [none, itv, {kind: breath-hold, hold_s: 20}]"),
        ("[3]", "[3]\n  prv_mm: 2"),
        ("[3]", "[3]\n  prv_mm: [0, 2]"),
        (GRID, "strategies: [{margin_mm: [1, 2, 3], motion: itv, guidance: online-target, prv_mm: 2}]\n"),
        ("systematic_mm: [1, 1, 1]", "systematic_mm: 1\n    known: {patients: 20, fractions: 90, mean_se_mm: 0}"),
        ("strategies:", "  respiration: {amplitude_mm: 5, structures: {Heart: 3, Liver: {amplitude_mm: 2}}}\nstrategies:"),
        ("name: study", "name: Füße-2\nprecision: 0.02"),
        ("name: study", "name: study\nsweep: {seed: [1, 2], prescription.dose_gy: {start: 40, stop: 50, step: 5}}"),
        ("name: study", "name: study\nsweep: {node: {together: {case.radius_mm: [8, 9], seed: [1, 2]}, labels: [a, b]}}"),
        ("name: study", "name: study\nmaps: null\ncourses: 1e3"),
        ('"GTV D98% >= 95%"', 'mediastinal-5fx, "GTV D98% >= 95%"'),
    ],
)  # fmt: skip
def test_short_forms_are_accepted_as_the_loader_does(old, new, tmp_path):
    text = GOOD.replace(old, new)
    assert is_accepted(text, tmp_path) == (True, "")
    ORACLE.validate(parse_yaml(text, "x")[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("random_mm", "randm_mm"),
        ("case:", "cases:"),
        ("[none]\n  guidance", "[itvv]\n  guidance"),
        ("[3]", "[fixed]"),
        ("[3]", "[{margin_mm: 3}]"),
        ("[3]", "[-1]"),
        ("[3]", "[[1, 2]]"),
        ("[3]", "true"),
        ("{phantom: sphere, radius_mm: 10}", "{radius_mm: 10}"),
        ("{phantom: sphere, radius_mm: 10}", "{phantom: sphere, dicom: folder}"),
        ("{phantom: sphere, radius_mm: 10}", "{phantom: pelvis}"),
        ("{model: penumbra}", "penumbra"),
        ("{model: penumbra}", "{penumbra_sd_mm: 3}"),
        ("{model: penumbra}", "{model: penumbra, arcs: 2}"),
        ("dose_gy: 50, ", ""),
        ("dose_gy: 50", "dose_gy: fifty"),
        ("name: study", "name: a/b"),
        ("name: study", "name: study\nseed: 1.5"),
        ("name: study", "name: study\nsampling: quasi"),
        ('["GTV D98% >= 95%"]', "GTV D98% >= 95%"),
        (GRID, "strategies: []\n"),
        ("[1, 1, 1]\n    random_mm", "[1, 1]\n    random_mm"),
        ("name: study", "name: study\nsweep: {seed: {start: 1, stop: 2}}"),
    ],
)
def test_mistakes_are_marked_as_the_loader_refuses_them(old, new, tmp_path):
    assert old in GOOD
    text = GOOD.replace(old, new)
    assert not is_accepted(text, tmp_path)[0]
    assert not ORACLE.is_valid(yaml.safe_load(text))


def test_of_studies_with_any_mistakes_the_schema_refuses_what_the_loader_refuses(tmp_path):
    """Values of a sweep aside, which only the loader puts in their places."""
    verdicts = set()
    for seed in range(120):
        text = mutated_study(Random(seed)).decode(errors="replace")
        accepted, said = is_accepted(text, tmp_path)
        try:
            raw, _ = parse_yaml(text, "x")
        except ConfigError:
            continue
        is_valid = ORACLE.is_valid(raw)
        assert is_valid or not accepted, (seed, [e.message[:200] for e in ORACLE.iter_errors(raw)])
        assert not is_valid or "sweep" in said or not any(words in said for words in ALONE), (seed, said)
        verdicts.add(is_valid)
    assert verdicts == {True, False}


def test_every_key_is_explained_to_the_editor():
    for name, kind in SCHEMA["$defs"].items():
        unexplained = [k for k, v in kind.get("properties", {}).items() if not {"description", "const"} & set(v)]
        assert unexplained == [], name


def test_the_command_prints_it_or_writes_it_over_its_own_file_alone(tmp_path):
    run = CliRunner().invoke
    assert json.loads(run(app, ["schema"]).stdout) == SCHEMA
    for _ in "twice":
        assert run(app, ["schema", "--out", str(tmp_path / FILE)]).exit_code == 0
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8")) == SCHEMA
    (tmp_path / "own.json").write_text("{}")
    refused = run(app, ["schema", "--out", str(tmp_path / "own.json")])
    assert isinstance(refused.exception, ConfigError)
    assert (tmp_path / "own.json").read_text() == "{}"
