"""Commented starter studies for `simulator init`."""

from pathlib import Path

from simulator.spec import ConfigError

_SITES = {
    "mediastinal": ("mediastinal-5fx", "dose_gy: 50, fractions: 5, isodose_percent: 80", "[2.3, 2.1, 4.6]"),
    "abdominal": ("abdominal-5fx", "dose_gy: 35, fractions: 5, isodose_percent: 80", "[1.5, 2.0, 5.7]"),
    "pelvic": ("pelvic-3fx", "dose_gy: 30, fractions: 3, isodose_percent: 80", "[0, 0, 0]"),
}

_PHANTOM = """case:
  phantom: {site}          # mediastinal, abdominal, pelvic or sphere; or give your patient's data instead:
  # dicom: path/to/folder  # RTSTRUCT and, where wanted, CT, RTDOSE, RTPLAN; `simulator inspect FOLDER` lists them
  # target: GTV
"""

_DICOM = """case:
  dicom: {folder}
  target: {target}         # {remark}structures: {names}
  # aliases: {{SpinalCord: [cord, Myelon]}}   # standard name: your clinic's names
  # densities: {{Lung_L: 0.26}}               # relative to water, where there is no CT
"""

_STUDY = """# A study: what can go wrong, what is done about it, what counts as success.
# Every key is explained in docs/configuration.md. Next: simulator check THIS_FILE
name: my-{site}-node

{case}
prescription: {{{prescription}}}

plan:
  model: conformal-arc     # or rtdose: your own plan for each margin, see docs/configuration.md

uncertainty:               # one standard deviation per axis (LR, AP, SI); leave out what you do not want
  setup:
    systematic_mm: [2.7, 2.7, 2.7]
    random_mm: [2.7, 2.7, 2.7]
  respiration:
    amplitude_mm: {amplitude}   # peak to peak
    course_cv: 0.4         # spread of the amplitude between patients
    fraction_cv: 0.2       # and between fractions
  # More sources; configs/{site}_strategies.yaml gives typical values with their publications:
  # baseline: {{systematic_mm: 2.0, random_mm: 2.0}}       # of the target against bone
  # drift: {{sd_mm_per_min: 0.08}}                         # of the patient during the session
  # organs: {{Bowel_Small: {{random_mm: 4.5, degrees_of_freedom: 3}}}}
  # registration: {{systematic_mm: 2.0}}                   # PET-CT to planning CT
  # delineation: {{sd_mm: 1.5, correlation_deg: 45}}
  # isocentre: {{systematic_mm: 0.4}}

strategies:                # every margin with every motion management and every guidance protocol
  margins_mm: [0, 3, 5, 8] # also [5, 5, 8] per axis, or van-herk
  motion: [none, itv]      # also mid-ventilation, gating, breath-hold, tracking, compression
  guidance: [none, online-bone, online-target]   # also nal, enal

goals:
  - {library}              # published constraints for this site and number of fractions
  - "GTV D98% >= 95%"      # your own: STRUCTURE METRIC OP VALUE
  # - "GTV BED(10):D98% >= 100 Gy"  # biological doses, with the alpha/beta in Gy: BED(10):, EQD2(3):

courses: 2000
seed: 1
"""


def starter_study(site: str, dicom: Path | None = None) -> str:
    """A commented study file.

    Parameters
    ----------
    site : mediastinal, abdominal or pelvic.
    dicom : folder of a patient to start from; its structures are named in the file.

    Raises
    ------
    ConfigError : unknown site, or a folder without structures.
    """
    if site not in _SITES:
        raise ConfigError(f"--site {site}: has to be one of {', '.join(_SITES)}")
    library, prescription, amplitude = _SITES[site]
    names = [] if dicom is None else _names(dicom)
    case = _PHANTOM.format(site=site) if dicom is None else _dicom_case(dicom, names)
    text = _STUDY.format(site=site, case=case, prescription=prescription, amplitude=amplitude, library=library)
    return text.replace("GTV D98%", f"{_target(names)} D98%") if dicom else text


def _names(dicom: Path) -> list[str]:
    from simulator.case.inventory import inventory

    names = [s.name for s in inventory(dicom).structures]
    if not names:
        raise ConfigError(
            f"{dicom}: no RTSTRUCT with structures here, and a study needs them; `simulator inspect {dicom}` says what there is"
        )
    return names


def _target(names: list[str]) -> str:
    return next((n for wanted in ("GTV", "CTV", "PTV") for n in names if n.upper().startswith(wanted)), names[0])


def _dicom_case(dicom: Path, names: list[str]) -> str:
    target = _target(names)
    remark = "" if target.upper().startswith("GTV") else "no GTV found: margins are added to this one; "
    return _DICOM.format(folder=dicom.resolve(), target=target, names=", ".join(names), remark=remark)
