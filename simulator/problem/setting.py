"""What draws need to know of the anatomy, and how study and plan go together."""

from collections.abc import Sequence

import numpy as np

from simulator.case.anatomy import Case
from simulator.case.traces import Trace, breathing_signal
from simulator.ground.spec import ConfigError
from simulator.plan.agreement import check_agreement, contradictions, isocentre_of
from simulator.problem.target import Target
from simulator.sampling.courses import Isocentre, Setting
from simulator.strategy.margin import WATER_PENUMBRA_MM
from simulator.study_file.schema import StudyConfig
from simulator.study_file.targets import TargetOfStudy
from simulator.uncertainty import Uncertainty

_BESIDE_BODY_MM = 100.0


def setting_of(config: StudyConfig, case: Case, targets: Sequence[Target], record: Trace | None) -> Setting:
    """What draws need to know of the anatomy."""
    uncertainty = with_breathing(config.uncertainty, targets)
    setup = uncertainty.setup
    isocentre, _ = _isocentre(config, case)
    machine = uncertainty.isocentre
    turns = (setup is not None and setup.rotates) or (machine is not None and machine.rotates)
    turns = turns or config.session.isocentres == "each"
    named = case.structures if turns else (*(target.name for target in targets), *uncertainty.organs)
    n_fractions = config.prescription.fractions
    own_gy = {target.name: target.prescription.dose_gy / n_fractions for target in targets}
    together_gy = config.plan.beam_gy(list(own_gy.values()), config.prescription.dose_gy / n_fractions)
    waveform = None
    if uncertainty.respiration is not None:
        samples = None if record is None else (breathing_signal(record), record.duration_s)
        waveform = uncertainty.respiration.waveform(targets[0].name, samples)
    return Setting(
        uncertainty=uncertainty,
        session=config.session,
        targets={target.name: target.uncertainty for target in targets},
        n_fractions=n_fractions,
        n_instants=config.numerics.instants,
        fraction_gy=together_gy,
        centre_mm={name: case.structures[name].centroid_mm for name in named},
        volume_cc={name: case.structures[name].volume_cc for name in uncertainty.organs},
        isocentre_mm=isocentre,
        waveform=waveform,
        penumbra_sd_mm=WATER_PENUMBRA_MM if config.plan.edge_sd_mm is None else config.plan.edge_sd_mm,
        treated=config.observed.treated(config.candidates()) if config.observed else None,
        baseline_correlation={target.name: target.stated.baseline_correlation for target in targets},
        isocentres=_isocentres(config, case, own_gy) if config.session.isocentres == "each" else {},
    )


def with_breathing(uncertainty: Uncertainty, targets: Sequence[Target]) -> Uncertainty:
    """Errors in which every target breathes: the first by the study's amplitude, the others with it."""
    respiration = uncertainty.respiration
    if respiration is None or respiration.phases_mm is not None or len(targets) == 1:
        return uncertainty
    tied = respiration.structures | {target.name: target.stated.tied(respiration) for target in targets[1:]}
    return uncertainty.model_copy(update={"respiration": respiration.model_copy(update={"structures": tied})})


def _isocentres(config: StudyConfig, case: Case, own_gy: dict[str, float]) -> dict[str, Isocentre]:
    """By target the isocentre of its own plan: that of its RTPLAN, or its centre."""
    found = {}
    for name, gy in own_gy.items():
        of_plan, _ = isocentre_of(case.for_target(name), config.plan.used_for(case, name))
        found[name] = Isocentre(case.structure(name).centroid_mm if of_plan is None else of_plan, gy)
    return found


def _isocentre(config: StudyConfig, case: Case) -> tuple[np.ndarray, list[str]]:
    """What rotations turn about: the study's own point, the isocentre of an imported plan, or the targets' centre; notes."""
    setup = config.uncertainty.setup
    if setup is not None and setup.isocentre_mm is not None:
        return _stated(np.array(setup.isocentre_mm), case)
    of_plan, notes = isocentre_of(case, config.plan.used(case))
    if of_plan is None:
        of_plan = np.mean([target.centroid_mm for target in case.targets], axis=0)
    return of_plan, notes


def _stated(isocentre_mm: np.ndarray, case: Case) -> tuple[np.ndarray, list[str]]:
    """A study's own isocentre (3,), which may lie in the air beside a superficial target; notes."""
    if case.holds(isocentre_mm):
        return isocentre_mm, []
    away_mm = {target.name: float(np.linalg.norm(isocentre_mm - target.centroid_mm)) for target in case.targets}
    nearest = min(away_mm, key=away_mm.__getitem__)
    where = ", ".join(f"{v:g}" for v in isocentre_mm)
    said = (
        f"uncertainty.setup.isocentre_mm: ({where}) mm lies outside of the body, {away_mm[nearest]:.0f} mm from the centre of "
        f"{nearest}"
    )
    if away_mm[nearest] > _BESIDE_BODY_MM:
        at = ", ".join(str(round(v)) for v in case.structures[nearest].centroid_mm)
        raise ConfigError(
            f"{said}, which lies at ({at}) mm; give it in mm in the patient's coordinates (DICOM: x to the left, y to the "
            "back, z to the head), or leave it out for that of the plan"
        )
    return isocentre_mm, [said]


def notes_on_plan_of(config: StudyConfig, case: Case) -> list[str]:
    """How the study and the patient's plan go together.

    Raises
    ------
    ConfigError : they contradict each other, and the plan's dose is used.
    """
    setup = config.uncertainty.setup
    _, turning = _isocentre(config, case) if setup is not None and setup.rotates else (None, [])
    if not config.plan.used(case):
        found = contradictions(case.plan, config.prescription) if case.plan else []
        return [*(f"{text}; the plans of this study are its own" for text in found), *turning]
    notes = []
    for target in case.targets:
        key = "prescription"
        stated = config.targets.get(target.name, TargetOfStudy())
        if stated.dose_gy is not None:
            key = f"targets.{target.name}"
        prescription = stated.prescribed(config.prescription)
        notes += check_agreement(case, target, config.plan.used_for(case, target.name), prescription, key)
    return [*dict.fromkeys(notes), *turning]
