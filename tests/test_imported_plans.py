"""One dose for each strategy: which it is, what is refused, and docs/how-to/imported_plans.md from export to answer."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from dicom_changes import change, groups
from dicom_factory import GTV_CENTRE, GTV_RADIUS, ROOT, Z_MM, circle, phantom_structures, write_phantom_dicom
from eight_plans import MARGINS_MM, PLANS, capsule_cc, discs, dose_of, half_mm_of, ptv_name, write_eight_plans
from prepared import problems_of
from test_plan_dose import candidate, equal, sphere_case
from typer.testing import CliRunner

from simulator.case.anatomy import ImportedDose
from simulator.case.entries import Inventory, StructureEntry
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.case.structures import Structure
from simulator.commands.cli import app
from simulator.execution.splitting import plans_key
from simulator.ground.spec import CaseError, ConfigError
from simulator.plan.imported import ImportedDoses
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.quality import hottest_gy
from simulator.plan.targets import planning_target
from simulator.problem.preparation import prepare
from simulator.problem.words import plans_in_words
from simulator.results.file import open_results
from simulator.strategy import Strategy
from simulator.strategy.guidance import NoGuidance
from simulator.strategy.margin import FixedMargin
from simulator.strategy.motion import Gating, InternalTargetVolume
from simulator.study_file.loading import load_study
from simulator.study_file.own_plans import margin_in, motion_in, own_plans
from simulator.study_file.schema import StudyConfig
from simulator.study_file.starter import starter_study

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "imported_plans.md").read_text(encoding="utf-8")
RX = Prescription(dose_gy=50, fractions=5, isodose_percent=80)


def blocks(language: str) -> list[str]:
    """Fenced blocks of the how-to."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_eight_plans(tmp_path_factory.mktemp("eight") / "plans")


def entry(i: int, **changes):
    """Entry i of plan.doses, as the how-to has it."""
    motion, margin = PLANS[i]
    drawn = {"ptv": ptv_name(motion, margin)} | ({"itv": "ITV"} if motion == "itv" else {})
    return {"margin_mm": margin, "motion": motion, "dose": f"rd_{i + 1}.dcm", **drawn} | changes


def study(patient, doses, rtdoses=None, **changes):
    used = rtdoses or list(dict.fromkeys(d["dose"] for d in doses))
    return StudyConfig.model_validate(
        {
            "name": "own-plans",
            "case": {"dicom": str(patient), "target": "GTV", "rtdoses": used, "structures": _drawn(doses)},
            "prescription": RX.model_dump(),
            "plan": {"model": "rtdose", "doses": doses},
            "uncertainty": {"respiration": {"amplitude_mm": [0, 0, 8]}, "setup": {"random_mm": 1}},
            "strategies": {"margins_mm": [2, 4], "motion": ["none", "itv"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%"],
            "courses": 20,
        }
        | changes
    )


def _drawn(doses) -> list[str]:
    return ["SpinalCord", "ITV", *(ptv_name(*plan) for plan in PLANS)]


FOUR = [entry(0), entry(1), entry(4), entry(5)]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Every command and block of the page, in the order of the page: folder, study as `init` wrote it, outputs."""
    folder = tmp_path_factory.mktemp("how-to")
    write_eight_plans(folder / "plans")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        texts = [typed(command) for command in blocks("sh")[0].splitlines() + blocks("sh")[1].splitlines()]
        proposed = (folder / "study.yaml").read_text(encoding="utf-8")
        raw = yaml.safe_load(proposed)
        for key, value in (pair for block in blocks("yaml") for pair in yaml.safe_load(block).items()):
            raw[key] |= value
        raw["courses"] = 40  # as the command asks for: what `check` has found out holds for `run`
        (folder / "study.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        texts += [typed(command) for command in blocks("sh")[2].splitlines()]
    assert len(blocks("sh")) == 3
    return folder, proposed, texts


def typed(command: str) -> str:
    """What a command prints, without the lines of tables."""
    program, *arguments = command.split()
    assert program == "simulator"
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(re.sub("[│┃]", " ", done.output).split())


def test_the_doses_of_the_page_are_those_that_init_proposes(told):
    _, proposed, _ = told
    raw, (plan,) = (
        yaml.safe_load(confirmed(proposed)),
        [yaml.safe_load(b) for b in blocks("yaml") if b.startswith("plan:")],
    )
    assert raw["plan"] == plan["plan"]
    assert raw["prescription"] == {"dose_gy": 50, "fractions": 5, "isodose_percent": 80}
    assert raw["strategies"]["margins_mm"] == list(MARGINS_MM)
    assert raw["strategies"]["motion"] == ["none", "itv"]
    assert "# ITV 6 mm: 50 Gy in 5 to 80 %, isocentre (5, -3, 6) mm\n" in proposed


def test_check_says_what_the_page_says(told):
    _, _, texts = told
    (lines,) = blocks("text")
    assert all(line in texts[3] for line in lines.splitlines())
    assert "The study is valid." in texts[2]
    assert "The study is valid." in texts[3]


def test_every_strategy_has_its_own_dose_and_ptv(told):
    folder, _, _ = told
    with open_results(folder / "first-look") as results:
        plans = results["plans"].to_dataset()
        d98 = results["metrics/value"].sel(metric="GTV D98%")
        for motion, margin in PLANS:
            name = f"{motion}, {margin} mm, online-target"
            own = plans.sel(strategy=name)
            assert own["ptv_cc"] == pytest.approx(capsule_cc(GTV_RADIUS + margin, half_mm_of(motion)), rel=0.002)
            assert own["planning_target_cc"] == pytest.approx(capsule_cc(GTV_RADIUS, half_mm_of(motion)), rel=0.002)
        for margin in MARGINS_MM:
            one, other = (d98.sel(strategy=f"{m}, {margin} mm, online-target").values for m in ("none", "itv"))
            assert np.all(other >= one - 0.01)
            assert np.mean(other > one + 0.1) > 0.5
        assert set(np.unique(results["dvh"]["structure"])) == {"GTV", "Esophagus", "SpinalCord"}
        words = results.attrs["words"]
    assert "Dose 'rd_8.dcm' of RTPLAN rp_8.dcm is that of margin 8 mm, motion itv" in words
    assert "An imported dose holds for the images" in (folder / "first-look" / "report.html").read_text(
        encoding="utf-8"
    )


def drawn_d98_gy(motion: str, margin_mm: float) -> float:
    """Closed form of the dose that 98 % of the PTV gets, in the stack of discs of a slice's thickness that its contours are."""
    x, y, _ = GTV_CENTRE
    found = []
    for z, radius in discs(GTV_RADIUS + margin_mm, half_mm_of(motion)).items():
        away, height = np.meshgrid(np.arange(0.05, radius, 0.1), z + np.arange(-1.45, 1.5, 0.1))
        found.append((dose_of(motion, margin_mm)(x + away, y, height).ravel(), away.ravel()))
    gy, volume = np.concatenate(found, axis=1)
    return hottest_gy(gy, volume, 98)


def test_plan_quality_is_of_the_structures_that_are_named(patient):
    (problem,) = problems_of(study(patient, FOUR))
    for request, (motion, margin) in zip(problem.requests, [PLANS[i] for i in (0, 1, 4, 5)], strict=True):
        plan = request.model.plan(*problem.orders([request], problem.targets[0]))
        tenth_of_mm_gy = 0.1 * 4.4  # of the dose's edge, for voxels of 0.5 mm
        assert plan.quality.ptv_d98_gy == pytest.approx(drawn_d98_gy(motion, margin), abs=tenth_of_mm_gy)
        assert plan.quality.r100 == pytest.approx(1, abs=0.03)
    other = study(patient, [*FOUR[:2], entry(4, ptv="PTV_ITV6mm"), entry(5)])
    (changed,) = problems_of(other)
    assert [plans_key(changed, i) == plans_key(problem, i) for i in range(4)] == [False] * 4
    assert [a == b for a, b in zip(changed.requests, problem.requests, strict=True)] == [True, True, False, True]


def test_what_is_not_named_is_the_same_for_all_and_said(patient):
    shared = [{"margin_mm": margin, "dose": f"rd_{i + 1}.dcm"} for i, margin in enumerate((2, 4))]
    (problem,) = problems_of(study(patient, shared))
    doses = [problem.requests[i].model.used(problem.case)[0].label for i in range(4)]
    assert doses == ["rd_1", "rd_2", "rd_1", "rd_2"]
    assert plans_in_words(problem)[0] == (
        "Dose 'rd_1.dcm' of RTPLAN rp_1.dcm is that of margin 2 mm; the same whatever the motion management (none, itv) and "
        "the image guidance (none), none of which has a plan of its own; its PTV is the planning target expanded here by the "
        "margin"
    )


@pytest.mark.parametrize(
    ("doses", "message"),
    [
        (
            FOUR[:3],
            "plan.doses: no dose for strategy 'itv, 4 mm, none' (margin 4 mm); there are doses for margin 2 mm, motion none; "
            "margin 4 mm, motion none; margin 2 mm, motion itv. Add the dose of that plan, or leave the strategy out",
        ),
        (
            [*FOUR, entry(7)],
            "plan.doses: no strategy has the dose 'rd_8.dcm' (margin 8 mm, motion itv); add the strategy, correct margin_mm, "
            "motion, guidance and prv_mm (kind or name, as under strategies), or take the dose out",
        ),
        (
            [*FOUR, entry(5, motion="ivt")],
            "plan.doses: no strategy has the dose 'rd_6.dcm' (margin 4 mm, motion ivt); add the strategy,",
        ),
        ([*FOUR[:3], entry(5, dose="rd_99.dcm")], "plan.doses: 'rd_99.dcm' is not a dose of case "),
        (
            [*FOUR, {"motion": "itv", "guidance": "none", "dose": "rd_8.dcm"}],
            "plan.doses: strategy 'itv, 2 mm, none' (margin 2 mm) fits 2 doses equally: 'rd_5.dcm' (margin 2 mm, motion itv) "
            "and 'rd_8.dcm' (motion itv, guidance none); name more of margin_mm, motion, guidance and prv_mm, or take one out",
        ),
        (
            [*FOUR[:3], entry(5, ptv="PTV_ITV5mm")],
            "plan.doses: ptv 'PTV_ITV5mm': structure 'PTV_ITV5mm' is not in case ",
        ),
        ([*FOUR[:3], entry(5, itv="ITV_2")], "plan.doses: itv 'ITV_2': structure 'ITV_2' is not in case "),
        ([*FOUR[:3], entry(5, prv=["PRV"])], "plan.doses: prv 'PRV': structure 'PRV' is not in case "),
        (
            [*FOUR[:3], entry(5, ptv="SpinalCord")],
            "plan.doses: ptv 'SpinalCord' of dose 'rd_6.dcm' holds 0 % of GTV; name the PTV of this target",
        ),
        (
            [*FOUR[:3], entry(5, plan="rp_5.dcm")],
            "plan.doses: dose 'rd_6.dcm' refers to RTPLAN rp_6.dcm, not to rp_5.dcm; correct plan, or leave it out",
        ),
        ([*FOUR[:3], entry(5, plan="rp_9.dcm")], "plan.doses: plan 'rp_9.dcm' of dose 'rd_6' is not the plan of a dose"),
    ],
    ids=lambda value: "" if isinstance(value, list) else value[12:40],
)  # fmt: skip
def test_wrong_doses_are_refused(patient, doses, message):
    wrong = study(patient, doses, rtdoses=[f"rd_{i + 1}.dcm" for i in (0, 1, 4, 5, 7)])
    with pytest.raises((ConfigError, CaseError)) as raised:
        problems_of(wrong)
    assert str(raised.value).startswith(message)


def test_a_ptv_outside_of_its_dose_is_refused():
    case = sphere_case(doses=(ball_dose("small", 21.0),))
    ptv = Structure("PTV", "oar", Ball((0, 0, 0), 24.0))
    case.structures["PTV"] = ptv
    model = ImportedDoses.model_validate({"doses": [{"dose": "small", "ptv": "PTV"}]})
    own = model.of(candidate(5.0), {"GTV": equal(5.0)})
    with pytest.raises(
        CaseError, match="dose 'small' of case 'sphere' does not cover its PTV 'PTV'; export it on a larger grid"
    ):
        own.check([Order(case, planning_target(case.gtv.region, np.zeros((1, 3))), equal(5.0), RX)])


def ball_dose(label: str, half_mm: float = 40.0) -> ImportedDose:
    grid = Grid.covering((-half_mm,) * 3, (half_mm,) * 3, 2.0)
    return ImportedDose(label, Volume(grid, np.full(grid.shape, 50.0, np.float32)))


def test_planning_risk_volumes_are_left_out_of_the_ptv():
    """A PRV that is the left half of the PTV leaves half of it free; the dose there is what counts."""
    dose = ball_dose("d")
    cold = Volume(dose.dose_gy.grid, np.where(dose.dose_gy.grid.nodes_mm()[..., 0] > 0, 20.0, 60.0).astype(np.float32))
    case = sphere_case(doses=(ImportedDose("d", cold),))
    far = 400.0
    case.structures["PRV"] = Structure("PRV", "oar", Ball((far, 0, 0), far))
    model = ImportedDoses.model_validate({"doses": [{"dose": "d", "prv": ["PRV"]}]})
    order = Order(case, planning_target(case.gtv.region, np.zeros((1, 3))), equal(3.0), RX)
    quality = model.of(candidate(3.0), {"GTV": equal(3.0)}).plan(order).quality
    assert quality.ptv_free_percent == pytest.approx(50, abs=1)
    assert quality.ptv_free_v100_percent == pytest.approx(100, abs=4)
    assert model.planning_volumes == {"PRV"}
    whole = ImportedDoses.model_validate({"doses": [{"dose": "d"}]}).of(candidate(3.0), {"GTV": equal(3.0)})
    assert whole.plan(order).quality.ptv_free_v100_percent == pytest.approx(50, abs=4)


@pytest.mark.parametrize(
    ("named", "dose"),
    [
        (["all", "itv"], "itv"),
        (["itv", "5 mm and itv"], "5 mm and itv"),
        (["gating", "wide gate"], "gating"),
        (["all", "5 mm"], "5 mm"),
    ],
)
def test_the_closest_dose_holds(named, dose):
    keys = {
        "all": {},
        "itv": {"motion": "itv"},
        "5 mm": {"margin_mm": 5},
        "5 mm and itv": {"margin_mm": 5, "motion": "itv"},
        "gating": {"motion": "gating"},
        "wide gate": {"motion": "wide gate"},
    }
    model = ImportedDoses.model_validate({"doses": [{"dose": name, **keys[name]} for name in named]})
    motion = Gating(name="gate") if "gating" in named else InternalTargetVolume()
    strategy = Strategy(margin=FixedMargin(margin_mm=5), motion=motion, guidance=NoGuidance())
    assert [e.dose for e in model.of(strategy, {"GTV": equal(5.0)}).doses] == [dose]
    if "gating" in named:
        wide = strategy.model_copy(update={"motion": Gating(name="wide gate")})
        assert [e.dose for e in model.of(wide, {"GTV": equal(5.0)}).doses] == ["wide gate"]


def test_a_dose_of_any_point_of_a_sweep_is_used(patient):
    doses, sweep = [entry(i) for i in (0, 1, 2)], {"strategies.margins_mm": [[2], [4], [6]]}
    kinds = {"margins_mm": [2], "motion": ["none"], "guidance": ["none"]}
    assert len(problems_of(study(patient, doses, strategies=kinds, sweep=sweep))) == 3
    with pytest.raises(ConfigError, match=r"no strategy has the dose 'rd_4.dcm' \(margin 8 mm, motion none\)"):
        problems_of(study(patient, [*doses, entry(3)], strategies=kinds, sweep=sweep))


class TestPlansOfDoses:
    """Which RTPLAN a dose is of."""

    @pytest.fixture
    def folder(self, tmp_path):
        return write_eight_plans(tmp_path)

    def test_a_dose_that_does_not_say_its_plan_is_told(self, folder):
        change(folder / "rd_2.dcm", lambda dose: delattr(dose, "ReferencedRTPlanSequence"))
        change(folder / "rp_2.dcm", groups(3))
        doses = [entry(0), entry(1)]
        kinds = {"margins_mm": [2, 4], "motion": ["none"], "guidance": ["none"]}
        (problem,) = problems_of(study(folder, doses, strategies=kinds))
        assert any("dose 'rd_2' is not of one RTPLAN of the folder" in note for note in problem.notes)
        told = study(folder, [entry(0), entry(1, plan="4 mm")], strategies=kinds)
        with pytest.raises(
            ConfigError, match=r"prescription.fractions is 5, RTPLAN rp_2.dcm has 3 fractions.*'rd_2' is used"
        ):
            problems_of(told)

    def test_a_plan_of_another_frame_is_refused(self, folder):
        change(folder / "rp_2.dcm", lambda plan: setattr(plan, "FrameOfReferenceUID", "1.2.3"))
        kinds = {"margins_mm": [2, 4], "motion": ["none"], "guidance": ["none"]}
        with pytest.raises(
            CaseError, match=r"RTPLAN rp_2.dcm does not belong to RTSTRUCT rs_1.dcm: it is in another frame"
        ):
            problems_of(study(folder, [entry(0), entry(1)], strategies=kinds))


@pytest.mark.parametrize(
    ("name", "margin", "motion"),
    [
        ("PTV_5mm", (5,), None), ("PTV_ITV3", (3,), "itv"), ("PTV+3", (3,), None), ("PTV_MidV_4", (4,), "mid-ventilation"),
        ("zPTV_ITV_7.5mm", (7.5,), "itv"), ("SBRT 8 mm gated", (8,), "gating"), ("DIBH_5mm", (5,), "breath-hold"),
        ("PTV 5x5x8mm", (5, 5, 8), None), ("no ITV 5mm", (5,), "none"), ("ITV 6 mm 50Gy/5", (6,), "itv"),
        ("PTV_5000", None, None), ("PTV_50", None, None), ("PTV50Gy", None, None), ("PTV", None, None),
        ("PTV_12 Gy", None, None), ("plan 3", None, None),
        ("RD.1.2.840.113", None, None), ("Compression 4mm", (4,), "compression"), ("PTV1", None, None),
        ("tracking+3", (3,), "tracking"),
    ],
)  # fmt: skip
def test_names_of_plans_and_ptvs(name, margin, motion):
    assert (margin_in(name), motion_in(name)) == (margin, motion)


def test_the_closed_form_of_the_worked_example_is_the_prescription_at_the_ptv():
    for motion, margin in PLANS:
        x, y, z = np.add(GTV_CENTRE, (0, 0, GTV_RADIUS + margin + half_mm_of(motion)))
        assert dose_of(motion, margin)(x, y, z) == pytest.approx(50)


def confirmed(proposed: str) -> str:
    """The study with the proposed doses in place of plans of its own."""
    without = re.sub(r"^  model: conformal-arc.*\n", "", proposed, flags=re.M)
    return re.sub(r"^  # (model: rtdose|doses:|  - \{)", r"  \1", without, flags=re.M)


def test_names_with_blanks_and_a_plan_that_names_its_ptv(tmp_path):
    """Two plans whose labels say nothing: the RTPLAN refers to the PTV, which the study calls by a name without blanks."""
    drawn = phantom_structures() | {
        f"PTV {m} mm": ("PTV", [circle(5, -3, z, 12 + m) for z in Z_MM[8:16]]) for m in (3, 5)
    }
    write_phantom_dicom(tmp_path / "plans", structures=drawn, n_plans=2, doses=[{"plan": 1}, {"plan": 2}])
    for number, roi in ((1, 6), (2, 5)):

        def of_ptv(plan, roi=roi):
            plan.DoseReferenceSequence[0].ReferencedROINumber = roi
            plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = f"{ROOT}.3.1"

        change(tmp_path / "plans" / f"rp_{number}.dcm", of_ptv)
    proposed = starter_study("pelvic", tmp_path / "plans")
    assert '- {margin_mm: 5, dose: "rd_1.dcm", plan: "rp_1.dcm", ptv: "PTV_5_mm"}   # plan 1: 50 Gy in 5' in proposed
    assert '- {margin_mm: 3, dose: "rd_2.dcm", plan: "rp_2.dcm", ptv: "PTV_3_mm"}' in proposed
    assert "margins_mm: [3, 5]   # those of the doses" in proposed
    (tmp_path / "study.yaml").write_text(proposed, encoding="utf-8")
    assert len(load_study(tmp_path / "study.yaml").case.build().doses) == 2
    (tmp_path / "study.yaml").write_text(confirmed(proposed), encoding="utf-8")
    problem = prepare(load_study(tmp_path / "study.yaml"))
    assert {r.model.doses[0].ptv for r in problem.requests} == {"PTV_3_mm", "PTV_5_mm"}


def test_structures_entries_without_plans_propose_nothing():
    assert own_plans(Inventory(""), [StructureEntry("rs", "PTV_5mm", "PTV", 1.0)]) == []
