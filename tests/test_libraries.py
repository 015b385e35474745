"""Goal libraries hold published numbers, unchanged."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

from simulator.case.phantoms import AbdominalPhantom, MediastinalPhantom, PelvicPhantom
from simulator.metrics.goals import parse_goal
from simulator.metrics.kinds import parse_metric
from simulator.metrics.metric import Metric
from simulator.plan.prescription import Prescription
from simulator.study_file.published import GoalLibrary, library_names, resolve_goals
from simulator.study_file.schema import StudyConfig

DOCS = Path(__file__).parents[1] / "docs"
MAKE = runpy.run_path(str(DOCS / "make_constraints.py"))
LIBRARIES = {library.name: library for library in MAKE["libraries"]()}
PHANTOMS = {"mediastinal": MediastinalPhantom, "abdominal": AbdominalPhantom, "pelvic": PelvicPhantom}
ORGAN_STRUCTURES = {
    "spinal_cord": {"SpinalCord"},
    "spinal_canal": {"SpinalCord"},
    "cauda_equina": {"CaudaEquina"},
    "sacral_plexus": {"SacralPlex_L", "SacralPlex_R"},
    "oesophagus": {"Esophagus"},
    "heart": {"Heart"},
    "heart_pericardium": {"Heart"},
    "great_vessels": {"GreatVes"},
    "trachea_large_bronchi": {"Trachea", "BronchialTree_Prox"},
    "trachea_PBT": {"Trachea", "BronchialTree_Prox"},
    "main_bronchus": {"BronchialTree_Prox"},
    "trachea": {"Trachea"},
    "ribs": {"ChestWall"},
    "ribs_chest_wall": {"ChestWall"},
    "chest_wall": {"ChestWall"},
    "lung": {"Lungs"},
    "lung_both": {"Lungs"},
    "lungs-GTV": {"Lungs"},
    "stomach": {"Stomach"},
    "duodenum": {"Duodenum"},
    "jejunum_ileum": {"Bowel_Small"},
    "bowel": {"Bowel_Small", "Bowel_Large"},
    "colon": {"Bowel_Large"},
    "liver": {"Liver"},
    "kidney": {"Kidney_L", "Kidney_R"},
    "rectum": {"Rectum"},
    "bladder_wall": {"Bladder"},
    "femoral_heads": {"Femur_Head_L", "Femur_Head_R"},
}

each_library = pytest.mark.parametrize("name", sorted(LIBRARIES))


@pytest.fixture(scope="module")
def published_rows(reference_folder: Path) -> dict[str, dict]:
    rows = yaml.safe_load((reference_folder / "clinical.yaml").read_text(encoding="utf-8"))["B_constraints"]
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def phantom_structures() -> dict[str, set[str]]:
    return {site: set(phantom(grid_mm=5).build().structures) for site, phantom in PHANTOMS.items()}


def expected_goal(row: dict, fractions: int) -> tuple[str, str, float]:
    """Metric, operator and limit that a published row asks for."""
    metric, value = row["metric"], row["limits_Gy_by_fractions"][fractions]
    if metric.startswith("critical volume"):
        return f"CV{value}Gy", ">=", float(re.search(r"([\d.]+) cc", metric)[1])
    if metric.startswith("V"):
        return re.match(r"V[\d.]+Gy", metric)[0], "<=", float(re.match(r"<(\d+)%", value)[1])
    if metric == "mean dose":
        return "Dmean", "<=", value
    if metric.startswith(("Dmax", "D0.03cc")):
        return "D0.035cc", "<=", value
    return re.match(r"D[\d.]+cc", metric)[0], "<=", value


def is_recalled(row: dict) -> bool:
    return row["verified"] == "recalled"


def test_every_library_that_the_package_names_is_here():
    assert sorted(LIBRARIES) == library_names()
    assert {"mediastinal-5fx", "abdominal-5fx", "pelvic-5fx"} <= set(LIBRARIES)


@each_library
def test_numbers_are_those_of_the_published_row(name: str, published_rows: dict[str, dict]):
    library = LIBRARIES[name]
    for published in library.goals:
        goal = parse_goal(published.goal)
        row = published_rows[published.reference]
        text, operator, limit = expected_goal(row, library.fractions)
        expected = parse_metric(goal.metric.structure, text, goal.unit), operator, limit
        found = goal.metric, goal.operator, goal.limit
        assert found == expected, f"{published.goal} against {published.reference}"
        assert goal.metric.structure in ORGAN_STRUCTURES[row["organ"]], published.goal


@each_library
def test_checked_only_where_the_row_was_read(name: str, published_rows: dict[str, dict]):
    for published in LIBRARIES[name].goals:
        row = published_rows[published.reference]
        assert row["verified"] in ("read", "recalled")
        assert published.checked is not is_recalled(row), published.goal
        assert is_recalled(row) == ("recalled, not read" in published.note), published.goal


@each_library
def test_level_and_source_are_those_of_the_row(name: str, published_rows: dict[str, dict]):
    for published in LIBRARIES[name].goals:
        row = published_rows[published.reference]
        if row["level"] in ("mandatory", "optimal"):
            assert published.level == row["level"], published.goal
        assert re.split(r"[; ]", row["source"]["ref"])[0] in published.source, published.goal


@each_library
def test_a_replaced_point_maximum_is_noted(name: str, published_rows: dict[str, dict]):
    for published in LIBRARIES[name].goals:
        metric = published_rows[published.reference]["metric"]
        replaced = metric.startswith(("Dmax", "D0.03cc"))
        assert replaced == ("evaluated as D0.035cc" in published.note), published.goal


@each_library
def test_limits_scaled_from_five_fractions_are_noted(name: str, published_rows: dict[str, dict]):
    library = LIBRARIES[name]
    for published in library.goals:
        scaled = library.fractions == 8 and "extrapolation" in published_rows[published.reference].get("note", "")
        assert scaled == ("not independent evidence" in published.note), published.goal


@each_library
def test_library_loads_into_a_study(name: str):
    library = LIBRARIES[name]
    prescription = Prescription.model_construct(fractions=library.fractions)
    study = StudyConfig.model_construct(goals=(name,), prescription=prescription)
    own, published = resolve_goals(study)
    assert own == []
    assert [goal.text for goal in published] == [goal.goal for goal in library.goals]
    assert [goal.checked for goal in published] == [goal.checked for goal in library.goals]


@each_library
def test_name_tells_site_and_fractions(name: str):
    library = LIBRARIES[name]
    assert name == f"{library.site}-{library.fractions}fx"


@each_library
def test_structures_are_in_the_phantom(name: str, phantom_structures: dict[str, set[str]]):
    library = LIBRARIES[name]
    assert {parse_goal(g.goal).metric.structure for g in library.goals} <= phantom_structures[library.site]


@pytest.mark.parametrize("site", sorted(PHANTOMS))
def test_organs_of_the_page_are_those_of_the_phantom(site: str, phantom_structures: dict[str, set[str]]):
    listed = set(MAKE["PHANTOM_ORGANS"][site])
    assert listed == phantom_structures[site] - {"GTV", "External", "Lung_L", "Lung_R"}


@each_library
def test_one_limit_per_metric_and_level(name: str):
    def identity(library: GoalLibrary) -> list[tuple[Metric, str]]:
        return [(parse_goal(g.goal).metric, g.level) for g in library.goals]

    found = identity(LIBRARIES[name])
    assert len(set(found)) == len(found)
    texts = [g.goal for g in LIBRARIES[name].goals]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("fractions", [3, 4, 5])
def test_spinal_cord_maximum_is_the_risk_based_one(fractions: int):
    for library in LIBRARIES.values():
        if library.fractions == fractions:
            cord = [g.reference for g in library.goals if g.goal.startswith("SpinalCord D0.035cc")]
            assert cord == ([] if library.site == "pelvic" else ["B092"])


def test_constraints_page_is_in_step_with_the_libraries():
    page = (DOCS / "reference" / "constraints.md").read_text(encoding="utf-8")
    assert page == MAKE["constraints_page"](), "run: python docs/make_constraints.py"
