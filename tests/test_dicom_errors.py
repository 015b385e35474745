"""What a user reads when patient data are missing or do not fit together."""

import re

import numpy as np
import pytest
from dicom_factory import (
    FRAME,
    IDENTITY,
    PATIENT_ID,
    ROOT,
    Z_MM,
    circle,
    phantom_structures,
    planned_dose,
    write_phantom_dicom,
)

from simulator.case.sources import DicomCase
from simulator.ground.spec import CaseError


def message(folder, **options) -> str:
    options.setdefault("target", "GTV")
    with pytest.raises(CaseError) as raised:
        DicomCase(dicom=str(folder), **options).build()
    text = str(raised.value)
    assert not any(secret in text for secret in (IDENTITY, "Doe", PATIENT_ID, "19700102"))
    return text


def test_missing_folder(tmp_path):
    assert message(tmp_path / "absent") == (
        f"DICOM folder {tmp_path / 'absent'} does not exist; case.dicom names a folder, relative to the study file"
    )


def test_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"")
    assert message(tmp_path / "x.dcm") == (
        f"DICOM folder {tmp_path / 'x.dcm'} is a file, not a folder; "
        "case.dicom names a folder, relative to the study file"
    )


def test_folder_without_structure_set(tmp_path):
    write_phantom_dicom(tmp_path, n_structure_sets=0)
    assert message(tmp_path) == (f"{tmp_path}: no RTSTRUCT (structure set) found; the folder has: CT, RTDOSE, RTPLAN")


def test_unknown_target(tmp_path):
    write_phantom_dicom(tmp_path)
    assert message(tmp_path, target="SpinalCrod") == (
        "structure 'SpinalCrod' is not in RTSTRUCT rs_1.dcm; did you mean 'SpinalCord'? it has: BODY, GTV, SpinalCord, "
        "Empty. Name one of these, or map the clinic's own name with case.aliases"
    )


def test_empty_target(tmp_path):
    write_phantom_dicom(tmp_path)
    assert message(tmp_path, target="Empty") == (
        "RTSTRUCT rs_1.dcm: structure 'Empty' is empty: it has no closed contour of three points or more"
    )


def test_target_of_points_only(tmp_path):
    points = [np.array([[0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0]])]
    write_phantom_dicom(tmp_path, structures=phantom_structures() | {"Marker": ("MARKER", points)})
    assert message(tmp_path, target="Marker") == (
        "RTSTRUCT rs_1.dcm: structure 'Marker' is empty: it has no closed contour of three points or more"
    )


def test_wanted_structure_that_is_empty(tmp_path):
    write_phantom_dicom(tmp_path)
    assert "structure 'Empty' is empty" in message(tmp_path, structures=["Empty"])


def test_dose_in_another_frame_of_reference(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"frame": "1.2.3"}])
    assert message(tmp_path) == (
        f"RTDOSE rd_1.dcm is in another frame of reference (1.2.3) than RTSTRUCT rs_1.dcm ({FRAME}); export both from "
        "one plan, or choose the matching pair with case.rtdoses and case.structure_set"
    )


def test_relative_dose(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"units": "RELATIVE"}])
    assert message(tmp_path) == "RTDOSE rd_1.dcm: dose units are RELATIVE, GY wanted; export absolute dose in Gy"


def test_dose_tagged_fraction(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"summation": "FRACTION"}])
    assert message(tmp_path) == (
        "RTDOSE rd_1.dcm: dose summation type is FRACTION, so it may hold the whole course or a part of it; "
        "compare its maximum with the prescription and write case.dose_is: total or case.dose_is: per-fraction"
    )


def test_dose_per_fraction_without_a_plan(tmp_path):
    write_phantom_dicom(tmp_path, n_plans=0, doses=[{"summation": "FRACTION"}])
    assert message(tmp_path, dose_is="per-fraction") == (
        "RTDOSE rd_1.dcm: case.dose_is is per-fraction, but no RTPLAN gives the number of fractions"
    )


def test_target_outside_the_dose_grid(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"shape": (12, 29, 21)}])
    assert re.fullmatch(
        r"structure 'GTV' \(x -7\.\d to 17\.\d, y -15\.\d to 9\.\d, z -4\.5 to 16\.5 mm\) reaches outside the "
        r"dose grid of 'PLAN' \(x -30\.0 to 30\.0, y -35\.0 to 35\.0, z -24\.0 to 9\.0 mm\); "
        r"export the dose on a larger grid",
        message(tmp_path),
    )


def test_missing_ct_slices(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=[z for z in Z_MM if z not in (-9.0, 12.0, 15.0)])
    assert message(tmp_path) == (
        "CT: 3 missing slice(s) at z = -9, 12, 15 mm (18 slices read); copy the missing files, or remove the CT and "
        "give case.densities"
    )


def test_two_ct_slices_at_one_position(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=[*Z_MM, 6.0])
    assert message(tmp_path) == ("CT: two slices at 6 mm; keep one series (one breathing phase) in the folder")


def test_several_plans(tmp_path):
    write_phantom_dicom(tmp_path, n_plans=2)
    assert message(tmp_path) == (
        "2 RTPLAN files fit; say which with case.rtplan (the end of the UID, or the file name):\n"
        f"  {ROOT}.4.1  plan 1  rp_1.dcm\n  {ROOT}.4.2  plan 2  rp_2.dcm"
    )


def test_several_structure_sets(tmp_path):
    write_phantom_dicom(tmp_path, n_structure_sets=2, n_plans=0)
    assert message(tmp_path) == (
        "2 RTSTRUCT files fit; say which with case.structure_set (the end of the UID, or the file name):\n"
        f"  {ROOT}.3.1  set 1  rs_1.dcm\n  {ROOT}.3.2  set 2  rs_2.dcm"
    )


def test_several_plan_doses(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{}, {}])
    assert message(tmp_path) == (
        "2 RTDOSE files fit; say which with case.rtdoses (the end of the UID, or the file name):\n"
        f"  {ROOT}.5.1  PLAN  rd_1.dcm\n  {ROOT}.5.2  PLAN  rd_2.dcm"
    )


def test_a_choice_that_fits_nothing(tmp_path):
    write_phantom_dicom(tmp_path, n_plans=2)
    assert message(tmp_path, rtplan="77") == (
        "case.rtplan: no RTPLAN has a UID that ends in, or a file called, '77'; there are:\n"
        f"  {ROOT}.4.1  plan 1  rp_1.dcm\n  {ROOT}.4.2  plan 2  rp_2.dcm"
    )


def test_dose_of_another_plan(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"plan": 8}])
    assert message(tmp_path) == (
        "no RTDOSE belongs to the RTPLAN 'plan 1'; export the dose of that plan, or name one of another plan with "
        f"case.rtdoses:\n  {ROOT}.5.1  PLAN  rd_1.dcm"
    )


def test_beam_doses_that_are_not_all_there(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"summation": "BEAM", "beam": 1}])
    assert message(tmp_path) == (
        f"only beam doses found, and beams [2] have none; export the plan dose:\n  {ROOT}.5.1  BEAM  rd_1.dcm"
    )


def test_beam_dose_asked_for_beside_the_plan_dose(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{}, {"summation": "BEAM", "beam": 1}])
    assert message(tmp_path, rtdoses=["rd_1.dcm", "rd_2.dcm"]) == (
        "case.rtdoses mixes beam doses with others; a beam dose is already part of its plan's dose:\n"
        f"  {ROOT}.5.1  PLAN  rd_1.dcm\n  {ROOT}.5.2  BEAM  rd_2.dcm"
    )


def test_oblique_dose(tmp_path):
    c, s = np.cos(0.1), np.sin(0.1)
    write_phantom_dicom(tmp_path, doses=[{"orientation": (c, s, 0, -s, c, 0)}])
    assert message(tmp_path) == (
        "RTDOSE rd_1.dcm is oblique (ImageOrientationPatient 0.995, 0.0998, 0, -0.0998, 0.995, 0); resample it along "
        "the patient's axes before export"
    )


def test_oblique_ct(tmp_path):
    c, s = np.cos(0.1), np.sin(0.1)
    write_phantom_dicom(tmp_path, ct_orientation=(1, 0, 0, 0, c, s))
    assert message(tmp_path) == (
        "CT ct_000.dcm is oblique (ImageOrientationPatient 1, 0, 0, 0, 0.995, 0.0998); resample it along the patient's "
        "axes before export"
    )


def test_dose_planes_at_uneven_distances(tmp_path):
    offsets = np.array([*range(0, 46, 3), 50])
    write_phantom_dicom(tmp_path, doses=[{"offsets": offsets}])
    assert message(tmp_path) == (
        "RTDOSE rd_1.dcm: its planes are 3 to 5 mm apart; export the dose on a grid with even spacing"
    )


def test_dose_planes_that_are_neither_relative_nor_absolute(tmp_path):
    write_phantom_dicom(tmp_path, doses=[{"offsets": np.arange(7, 56, 3)}])
    assert message(tmp_path) == (
        "RTDOSE rd_1.dcm: GridFrameOffsetVector begins with 7, neither 0 (relative) nor the z of the first plane, -24 "
        "mm; export the dose again"
    )


def test_contour_out_of_the_transverse_plane(tmp_path):
    tilted = circle(0, 0, 0, 10)
    tilted[:, 2] += 0.2 * tilted[:, 0]
    write_phantom_dicom(tmp_path, structures=phantom_structures() | {"Tilted": ("GTV", [tilted])})
    assert message(tmp_path, target="Tilted").startswith(
        "RTSTRUCT rs_1.dcm: structure 'Tilted': a contour runs from z = -2.0"
    )
    assert "Tilted" not in DicomCase(dicom=str(tmp_path), target="GTV").build().structures


def test_density_of_an_empty_structure(tmp_path):
    write_phantom_dicom(tmp_path)
    assert message(tmp_path, densities={"Empty": 0.3}) == (
        "case.densities: structure 'Empty' is empty; leave it out or draw it"
    )


def test_beam_doses_on_different_grids(tmp_path):
    beams = [
        {"summation": "BEAM", "beam": 1},
        {"summation": "BEAM", "beam": 2, "spacing": (3.0, 2.0, 3.0), "shape": (17, 36, 21), "values": planned_dose},
    ]
    write_phantom_dicom(tmp_path, doses=beams)
    assert message(tmp_path).startswith("the beam doses are on different grids; export the plan dose instead:\n")
