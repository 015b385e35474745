"""Flawed DICOM files: `inspect` lists the rest and says which file is unusable, a study is refused by file and element."""

import warnings

import numpy as np
import pytest
from dicom_changes import change, with_decimal_commas
from dicom_factory import circle, phantom_structures, planned_dose, write_phantom_dicom

from simulator.case.archive import load_archive
from simulator.case.inventory import inventory
from simulator.case.loading import load_case
from simulator.ground.spec import CaseError

KINDS = {"rd_1.dcm": "doses", "rp_1.dcm": "plans", "rs_1.dcm": "structures", "ct_003.dcm": "images"}


@pytest.fixture
def folder(tmp_path):
    return write_phantom_dicom(tmp_path / "patient")


def refused(folder, *words):
    """The message of a study on the folder."""
    with pytest.raises(CaseError) as raised:
        load_case(folder, target="GTV")
    for word in words:
        assert word in str(raised.value)
    return str(raised.value)


def assert_rest_is_listed(folder, flawed, word):
    """All kinds of files but the flawed one are listed, which is named with the reason."""
    found = inventory(folder)
    assert any(flawed in note and word in note for note in found.notes), found.notes
    for name, kind in KINDS.items():
        assert getattr(found, kind) or name == flawed, f"{kind} are hidden"


def set_to(keyword, value):
    def edit(data):
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)

    return edit


def pixels_cut(data):
    data.PixelData = data.PixelData[: len(data.PixelData) // 4 * 2]


def two_coordinates(data):
    data.ROIContourSequence[1].ContourSequence[0].ContourData = [1.0, 2.0]


FLAWS = [
    ("rd_1.dcm", set_to("GridFrameOffsetVector", None), "GridFrameOffsetVector is missing"),
    ("rd_1.dcm", set_to("GridFrameOffsetVector", [0.0, 3.0]), "GridFrameOffsetVector has 2 numbers, 17 wanted"),
    ("rd_1.dcm", set_to("ImagePositionPatient", None), "ImagePositionPatient is missing"),
    ("rd_1.dcm", set_to("ImagePositionPatient", [1.0, 2.0]), "ImagePositionPatient has 2 numbers, 3 wanted"),
    ("rd_1.dcm", set_to("PixelSpacing", None), "PixelSpacing is missing"),
    ("rd_1.dcm", set_to("PixelSpacing", [2.5, 0.0]), "voxels are 3, 2.5, 0 mm wide"),
    ("rd_1.dcm", set_to("PixelSpacing", [2.5, -3.0]), "mm wide"),
    ("rd_1.dcm", set_to("DoseGridScaling", None), "has no DoseGridScaling above 0"),
    ("rd_1.dcm", set_to("DoseGridScaling", 0.0), "has no DoseGridScaling above 0"),
    ("rd_1.dcm", set_to("DoseGridScaling", -1e-6), "has no DoseGridScaling above 0"),
    ("rd_1.dcm", set_to("PixelData", None), "has no PixelData (DVHs alone?)"),
    ("rd_1.dcm", set_to("Rows", None), "holds no dose grid (DVHs alone?)"),
    ("rd_1.dcm", set_to("PixelData", b""), "PixelData is cut short, 0 of"),
    ("rd_1.dcm", pixels_cut, "PixelData is cut short"),
    ("rd_1.dcm", set_to("NumberOfFrames", 10**9), "of memory wanted"),
    ("rd_1.dcm", set_to("NumberOfFrames", 2000), "PixelData is cut short"),
    ("rd_1.dcm", set_to("NumberOfFrames", -1), "NumberOfFrames, Rows and Columns are -1, 29, 21"),
    ("rd_1.dcm", set_to("Rows", 65535), "PixelData is cut short"),
    ("rd_1.dcm", set_to("SamplesPerPixel", 3), "PixelData"),
    ("rd_1.dcm", set_to("BitsAllocated", 7), "PixelData"),
    ("rd_1.dcm", set_to("ImageOrientationPatient", [1, 0, 0, 0]), "ImageOrientationPatient has 4 numbers, 6 wanted"),
    ("rd_1.dcm", set_to("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "rd_1.dcm is oblique"),
    ("rp_1.dcm", lambda p: delattr(p.BeamSequence[0], "BeamNumber"), "BeamNumber is missing"),
    ("rp_1.dcm", lambda p: setattr(p.BeamSequence[0].ControlPointSequence[0], "IsocenterPosition", [1.0]), "IsocenterPosition"),
    ("rs_1.dcm", lambda s: delattr(s.ROIContourSequence[1], "ReferencedROINumber"), "ReferencedROINumber is missing"),
    ("rs_1.dcm", lambda s: delattr(s.RTROIObservationsSequence[0], "ReferencedROINumber"), "ReferencedROINumber is missing"),
    ("rs_1.dcm", lambda s: delattr(s.StructureSetROISequence[0], "ROINumber"), "ROINumber is missing"),
    ("rs_1.dcm", two_coordinates, "ContourData has 2 numbers"),
    ("ct_003.dcm", set_to("ImagePositionPatient", None), "ImagePositionPatient is missing"),
    ("ct_003.dcm", set_to("PixelSpacing", [2.0]), "PixelSpacing has 1 numbers, 2 wanted"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit", "word"), FLAWS, ids=[f"{name} {word}" for name, _, word in FLAWS])
def test_a_flawed_element_is_named_and_hides_nothing_else(folder, name, edit, word):
    change(folder / name, edit)
    assert_rest_is_listed(folder, name, word)
    assert name in refused(folder, word)


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("rd_1.dcm", "PixelSpacing"),
        ("rd_1.dcm", "ImagePositionPatient"),
        ("rs_1.dcm", "ContourData"),
        ("rp_1.dcm", "TargetPrescriptionDose"),
    ],
)
def test_decimal_commas_are_no_numbers(folder, name, keyword):
    change(folder / "rp_1.dcm", lambda p: setattr(p.DoseReferenceSequence[0], "TargetPrescriptionDose", 50.5))
    with_decimal_commas(folder / name, keyword)
    assert_rest_is_listed(folder, name, keyword)
    assert "," in refused(folder, name, keyword)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_short_in_transfer_is_refused(folder, name, share):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content)) - 3])
    assert_rest_is_listed(folder, name, "cut short")
    refused(folder, name, "cut short")


@pytest.mark.parametrize("name", ["rd_1.dcm", "rp_1.dcm", "rs_1.dcm"])
def test_a_frame_of_reference_of_several_values_is_another_one(folder, name):
    def edit(data):
        if name == "rs_1.dcm":
            for roi in data.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = ["1.2", "3.4"]
        else:
            data.FrameOfReferenceUID = ["1.2", "3.4"]

    change(folder / name, edit)
    inventory(folder)
    refused(folder, "another frame of reference")


def test_a_damaged_dicom_file_is_named(folder):
    (folder / "garbage.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff\xfe" * 40)
    assert any("garbage.dcm" in note for note in inventory(folder).notes)
    refused(folder, "garbage.dcm", "take it out of the folder")
    (folder / "garbage.dcm").unlink()
    (folder / "notes.txt").write_bytes(b"\x08\x00 not DICOM at all")
    load_case(folder, target="GTV")


def test_a_dose_with_dvhs_alone_is_not_one_of_several_doses(folder):
    (folder / "rd_2.dcm").write_bytes((folder / "rd_1.dcm").read_bytes())
    change(folder / "rd_2.dcm", set_to("Rows", None))
    assert len(load_case(folder, target="GTV").doses) == 1


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (lambda x, y, z: 0 * x, "no voxel is above 0 Gy"),
        (lambda x, y, z: 1e-9 + 0 * x, "no voxel is above 0 Gy"),
    ],
)
def test_a_dose_of_nothing_is_refused(tmp_path, values, word):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{"values": values}])
    refused(tmp_path, "RTDOSE rd_1.dcm", word)
    assert any(word in note for note in inventory(tmp_path).notes)


def test_a_dose_that_is_negative_is_refused(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{}])

    def edit(data):
        data.PixelRepresentation = 1
        data.PixelData = (-np.frombuffer(data.PixelData, "<i4")).tobytes()

    change(tmp_path / "rd_1.dcm", edit)
    refused(tmp_path, "no voxel is above 0 Gy")

    def half(data):
        values = np.frombuffer(data.PixelData, "<i4").copy()
        values[: len(values) // 2] *= -1
        data.PixelData = values.tobytes()

    change(tmp_path / "rd_1.dcm", half)
    refused(tmp_path, "it goes down to -", "not a difference")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["outside", "target", "one voxel"])
def test_a_dose_that_is_not_finite_is_refused(tmp_path, value, where):
    z, y, x = np.meshgrid(*(3.0 * np.arange(-12, 13),) * 3, indexing="ij")
    body, gtv = np.hypot(x, y) < 30, np.hypot(np.hypot(x, y), z) < 9
    bad = {"outside": ~body, "target": gtv, "one voxel": (x == 0) & (y == 0) & (z == 0)}[where]
    dose = np.where(bad, value, planned_dose(x, y, z)).astype(np.float32)
    place = dict.fromkeys(("ct_origin_xyz_mm", "dose_origin_xyz_mm"), [-36.0] * 3)
    place |= dict.fromkeys(("ct_spacing_xyz_mm", "dose_spacing_xyz_mm"), [3.0] * 3)
    labels = np.where(gtv, 2, body).astype(np.int16)
    path = tmp_path / "case.npz"
    np.savez(
        path, ct_hu=0 * labels, labels=labels, label_ids=[1, 2], label_names=["BODY", "GTV"], dose_gy=dose, **place
    )
    with pytest.raises(CaseError, match=rf"case.npz: its dose: {bad.sum()} of {dose.size} voxels are NaN or infinite"):
        load_archive(path, target="GTV")
    assert any("NaN or infinite" in note for note in inventory(path).notes)


@pytest.mark.parametrize("units", ["gy", " GY ", "Gy"])
def test_units_are_read_in_any_case(tmp_path, units):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{"units": units}])
    assert load_case(tmp_path, target="GTV").doses


@pytest.mark.parametrize("scaling", [1e-3, 1e-4])
def test_a_dose_of_another_order_is_noted_by_inspect(folder, scaling):
    change(folder / "rd_1.dcm", set_to("DoseGridScaling", scaling))
    assert any("is it in cGy, or its DoseGridScaling wrong?" in note for note in inventory(folder).notes)


@pytest.mark.parametrize("far", [1e9, -1e9, 1e300, 2e4])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_contour_outside_of_any_patient_asks_for_no_memory(tmp_path, far, axis):
    away = circle(0, 0, 0, 10)
    away[:, axis] += far
    away[:, axis] = np.clip(away[:, axis], -1e15, 1e15) if abs(far) > 1e15 else away[:, axis]
    structures = phantom_structures() | {"Organ": ("ORGAN", [circle(0, 0, 0, 10), away])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_phantom_dicom(tmp_path, ct_z=(), structures=structures)
    assert "outside of any patient" in load_case(tmp_path, target="GTV").left_out["Organ"]
    assert any("outside of any patient" in s.note for s in inventory(tmp_path).structures)


def test_parts_that_lie_far_apart_are_refused_before_memory_is_asked_for(tmp_path):
    node = [circle(4000, 4000, z, 4) for z in (0.0, 3.0)] + [circle(-4000, -4000, z, 4) for z in (3000.0, 3003.0)]
    write_phantom_dicom(tmp_path, ct_z=(), structures=phantom_structures() | {"Node": ("GTV", node)}, doses=())
    with pytest.raises(CaseError, match=r"GiB of memory wanted, .* far from each other"):
        load_case(tmp_path, target="Node").gtv.centroid_mm  # noqa: B018


def test_a_folder_of_damaged_files_alone_says_why_nothing_is_read(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), n_plans=0, n_structure_sets=0)
    change(tmp_path / "rd_1.dcm", set_to("PixelSpacing", None))
    with pytest.raises(CaseError, match=r"(?s)nothing found that can be read.*rd_1.dcm: PixelSpacing is missing"):
        inventory(tmp_path)
