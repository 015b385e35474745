"""A new kind is one class on one page and one line: toy kinds of every role, added to a copy of the package.

Each toy does what some kind of the simulator's own does in a special case, so that a study of toys has to give the numbers and
the maps of a study of their twins, bit for bit.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from drawing import delivered
from typer.testing import CliRunner

from simulator.commands.cli import app
from simulator.execution import executors
from simulator.results.file import open_results
from simulator.strategy.motion import NoMotionManagement
from simulator.uncertainty import Setup, Uncertainty

TESTS = Path(__file__).parent
LINES = {
    "strategy/margin.py": ("| StroomMargin,", "| StroomMargin | AllRound | ThreeSigma,"),
    "strategy/motion.py": ("| Compression,", "| Compression | Frozen,"),
    "strategy/guidance.py": ("| OnlineTarget, Field", "| OnlineTarget | Now, Field"),
    "uncertainty/__init__.py": (
        "\n    def sources",
        '\n    sag: Sag | None = Field(None, description="x")\n\n    def sources',
    ),
    "study_file/schema.py": ("PlanModel = Annotated[", "PlanModel = Annotated[Logistic | "),
    "ground/conventions.py": ("ISOCENTRE = 20", "ISOCENTRE = 20\n    SAG = 60"),
}
IMPORTS = {
    "strategy/margin.py": ("Margin = Annotated", "from simulator.new_kinds.margins import AllRound, ThreeSigma"),
    "strategy/motion.py": ("Motion = Annotated", "from simulator.new_kinds.motion import Frozen"),
    "strategy/guidance.py": ("Guidance = Annotated", "from simulator.new_kinds.guidance import Now"),
    "uncertainty/__init__.py": ("class Uncertainty", "from simulator.new_kinds.source import Sag"),
    "study_file/schema.py": ("PlanModel = Annotated", "from simulator.new_kinds.plan import Logistic"),
}
ELSEWHERE, SAGS = {"Bowel": [3, 0, -4]}, [0, 2, -5]
TOYS = {
    "name": "toys",
    "case": {
        "phantom": "sphere",
        "radius_mm": 8,
        "organs": {"Bowel": {"gap_mm": 9, "radius_mm": 5}, "Kidney": {"gap_mm": 21, "radius_mm": 5}},
    },
    "prescription": {"dose_gy": 40, "fractions": 3, "isodose_percent": 80},
    "plan": {"model": "logistic"},
    "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}, "respiration": {"amplitude_mm": [1, 2, 8]},
                    "sag": {"structure": "Kidney", "mean_mm": SAGS}},
    "strategies": {
        "margins_mm": [{"recipe": "all-round", "length_mm": m} for m in (0, 3, 6)] + ["three-sigma"],
        "motion": [{"kind": "frozen", "elsewhere_mm": ELSEWHERE}],
        "guidance": ["none", {"kind": "now-and-then", "every": 1}],
    },
    "goals": ["GTV D98% >= 95%", "Bowel D0.035cc <= 30 Gy", "Kidney Dmean <= 20 Gy"],
    "maps": {"courses": 20},
    "courses": 60,
    "numerics": {"max_points": 1000, "instants": 4},
}  # fmt: skip
TWINS = TOYS | {
    "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}, "respiration": {"amplitude_mm": [1, 2, 8]},
                    "organs": {"Kidney": {"mean_mm": SAGS}}},
    "strategies": {
        "margins_mm": [0, 3, 6, {"recipe": "fixed", "margin_mm": 12}],
        "motion": [{"kind": "breath-hold", "systematic_mm": 0, "hold_mm": 0, "hold_s": 1800, "geometry_mm": ELSEWHERE}],
        "guidance": ["none", {"kind": "online-bone", "match_mm": 0}],
    },
}  # fmt: skip
SMALL = {
    "name": "small",
    "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 4},
    "prescription": {"dose_gy": 20, "fractions": 1},
    "plan": {"model": "penumbra"},
    "uncertainty": {"setup": {"systematic_mm": 2}},
    "strategies": {"margins_mm": [2, 4], "motion": "none", "guidance": "none"},
    "goals": ["GTV D98% >= 95%"],
    "courses": 40,
    "numerics": {"max_points": 1000, "instants": 1},
}
SCRIPT = """
import json
import simulator
from simulator.execution.study import run_study
from simulator.study_file.schema import StudyConfig
from pathlib import Path
for name, raw in json.loads(Path("studies.json").read_text()).items():
    try:
        run_study(StudyConfig.model_validate(raw), Path(name), workers=1)
    except simulator.ground.spec.SimulatorError as error:
        Path(name + ".txt").write_text(str(error))
"""


def changed(**sections):
    """The study of toys with some keys of its sections replaced."""
    return TOYS | {section: TOYS[section] | changes for section, changes in sections.items()}


MISTAKES = {
    "misspelt in the motion": changed(strategies={"motion": [{"kind": "frozen", "elsewhere_mm": {"Bowl": [0, 0, 1]}}]}),
    "misspelt in the source": changed(uncertainty={"sag": {"structure": "Kidny"}}),
    "nothing to freeze": changed(uncertainty={"respiration": None}),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of the studies of toys and of twins, simulated by a package to which each toy was added by its line."""
    folder = tmp_path_factory.mktemp("house")
    package = folder / "simulator"
    original = TESTS.parent / "simulator"
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__", "kernels"))
    (package / "kernels").symlink_to(original / "kernels")
    shutil.copy(TESTS.parent / "pyproject.toml", folder)
    shutil.copytree(TESTS / "new_kinds", package / "new_kinds")
    for file, (before, after) in LINES.items():
        text = (package / file).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"the line of {file} is written otherwise now"
        text = text.replace(before, after)
        if file in IMPORTS:
            above, line = IMPORTS[file]
            text = text.replace(f"\n{above}", f"\n{line}\n\n{above}", 1)
        (package / file).write_text(text, encoding="utf-8")
    (folder / "studies.json").write_text(json.dumps({"toys": TOYS, "twins": TWINS, **MISTAKES}))
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="module")
def toys(runs):
    with open_results(runs / "toys") as results:
        yield results.load()


@pytest.fixture(scope="module")
def twins(runs):
    with open_results(runs / "twins") as results:
        yield results.load()


CONSTANT = slice(0, 6)


def test_toys_give_the_metrics_of_their_twins(toys, twins):
    for key in ("metrics/value", "metrics/nominal"):
        one, two = (np.asarray(results[key].transpose("strategy", ...))[CONSTANT] for results in (toys, twins))
        assert np.ptp(one, axis=0).any()
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("key", ["mean", "nominal", "sd", "percentile"])
def test_maps_move_what_toys_move(toys, twins, key):
    one, two = (results["dose"][key].transpose("strategy", ...).values[CONSTANT] for results in (toys, twins))
    np.testing.assert_array_equal(one, two)


def test_required_margins_follow_from_toy_margins(toys, twins):
    """Candidates of a new kind of constant margin give the required margin, beside a new published recipe."""
    one, two = toys["margins"].to_dataset(), twins["margins"].to_dataset().isel(recipe=slice(0, 4))
    assert one["guidance"].values.tolist() == ["none", "now-and-then"]
    np.testing.assert_array_equal(one["recipe"].values, [*two["recipe"].values, "three sigma"])
    np.testing.assert_array_equal(one["largest_mm"].values, 6)
    np.testing.assert_allclose(one["recipe_mm"].sel(recipe="three sigma").values[0], 12, rtol=1e-12)
    assert one["recipe_penumbra_mm"].item() == 3.6, "the plan model's own"
    of_none = one.isel(series=0)
    parts = of_none["cause_mm"].sum("cause", skipna=False)
    np.testing.assert_allclose(parts, (of_none["required_mm"] - of_none["recipe_mm"]).transpose(*parts.dims), atol=1e-9)


def test_toys_are_described(toys):
    words = " ".join(json.loads(toys.attrs["words"]))
    for sentence in ("Kidney sags.", "frozen: everything lies still", "now-and-then: perfect match", "three sigma"):
        assert sentence in words


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("misspelt in the motion", "strategies.motion.frozen.elsewhere_mm: Bowl not in case 'sphere'"),
        ("misspelt in the source", "uncertainty.sag: Kidny not in case 'sphere'"),
        ("nothing to freeze", "strategies.motion.frozen: there is no breathing to freeze; add uncertainty.respiration"),
    ],
)
def test_mistakes_in_toys_are_refused(runs, mistake, said):
    assert (runs / f"{mistake}.txt").read_text(encoding="utf-8").startswith(said)


def test_structures_that_a_kind_moves_and_does_not_name_are_refused():
    """Else they would be neither checked nor moved in dose maps."""

    class Careless(NoMotionManagement):
        def manage(self, breathing, planned, target, noise):
            managed = super().manage(breathing, planned, target, noise)
            managed.position_mm["Bladder"] = np.zeros((*breathing.breath.shape, 3))
            return managed

    class Reckless(Setup):
        def within_mm(self, numbers, n_fractions, target):
            return {"Bladder": np.zeros((numbers.n_courses, n_fractions, 3))}

    with pytest.raises(NotImplementedError, match=r"Careless\.moving has to name Bladder, which it moves"):
        delivered(Uncertainty(), Careless.model_construct())
    with pytest.raises(NotImplementedError, match=r"Reckless\.moving has to name Bladder, which it moves"):
        delivered(Uncertainty.model_construct(setup=Reckless()))


def test_a_new_executor_is_a_line_among_the_back_ends(tmp_path, monkeypatch):
    """One that gives results in the opposite order, and says where to watch."""

    class Backwards:
        def map(self, function, items):
            return reversed([function(item) for item in items])

    @contextmanager
    def backwards(n_workers, say):
        say("watch the clock")
        yield Backwards()

    monkeypatch.setitem(executors.BACKENDS, "backwards", backwards)
    study, hashes = tmp_path / "small.yaml", []
    study.write_text(json.dumps(SMALL), encoding="utf-8")
    for backend in ("local", "backwards"):
        options = ["--backend", backend, "--no-report"]
        result = CliRunner().invoke(app, ["run", str(study), "--out", str(tmp_path / backend), *options])
        assert result.exit_code == 0, result.output
        with open_results(tmp_path / backend) as results:
            hashes.append(results.attrs["result_hash"])
    assert "watch the clock" in result.output
    assert hashes[0] == hashes[1]
    refused = CliRunner().invoke(app, ["run", str(study), "--out", str(tmp_path / "x"), "--backend", "sideways"])
    assert "has to be one of local, processes, dask, backwards" in str(refused.exception) + refused.output
