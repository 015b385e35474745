"""Which structure and which image: names, repetitions, contours that enclose nothing, series that are not a plain CT."""

import copy
import gzip

import numpy as np
import pydicom
import pytest
from dicom_factory import Z_MM, circle, phantom_structures, planned_dose, write_phantom_dicom
from jpeg_lossless import encoded
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from simulator.case.dicom_files import scan
from simulator.case.dicom_rois import rois_of
from simulator.case.inventory import inventory
from simulator.case.loading import load_case
from simulator.ground.spec import CaseError


def cylinder(x, radius, n=7):
    return [circle(x, 0, z, radius) for z in Z_MM[7 : 7 + n]]


def volume_cc(radius, n=7):
    return np.pi * radius**2 * n * 3 / 1000


def edit(folder, pattern, change):
    """Apply a change to every file of a pattern, and keep its encoding."""
    for path in sorted(folder.glob(pattern)):
        data = pydicom.dcmread(path)
        change(data)
        data.save_as(path, enforce_file_format=True)


def rename_rois(folder, names):
    """Call the ROIs of a structure set otherwise, also alike."""

    def change(data):
        for roi, name in zip(data.StructureSetROISequence, names, strict=True):
            roi.ROIName = name

    edit(folder, "rs_1.dcm", change)


def said(folder):
    found = inventory(folder)
    return found, "\n".join(found.notes)


def refusal(folder, **options):
    with pytest.raises(CaseError) as raised:
        load_case(folder, **options)
    return str(raised.value)


@pytest.mark.parametrize("names", [("gtv", "GTV"), ("GTV", "gtv"), ("Gtv", "gTV")])
def test_of_names_that_differ_in_case_the_exact_one_is_meant(tmp_path, names):
    drawn = {
        "BODY": phantom_structures()["BODY"],
        names[0]: ("GTV", cylinder(15, 5)),
        names[1]: ("GTV", cylinder(-15, 8)),
    }
    write_phantom_dicom(tmp_path, ct_z=(), structures=drawn)
    for name, radius in zip(names, (5, 8), strict=True):
        assert load_case(tmp_path, target=name).gtv.volume_cc == pytest.approx(volume_cc(radius), rel=0.01)
    assert refusal(tmp_path, target="GtV") == (
        f"structure 'GtV' could be {names[0]!r} or {names[1]!r} in RTSTRUCT rs_1.dcm, which differ only in case; write the "
        "one that is meant exactly so"
    )
    assert (
        f"{names[0]!r} and {names[1]!r} differ only in case: write the one that is meant exactly so"
        in said(tmp_path)[1]
    )


def test_an_alias_means_the_exact_name(tmp_path):
    drawn = {"gtv": ("GTV", cylinder(15, 5)), "Primary": ("GTV", cylinder(-15, 8)), "PRIMARY": ("GTV", cylinder(0, 3))}
    write_phantom_dicom(tmp_path, ct_z=(), structures=drawn)
    case = load_case(tmp_path, target="GTV", aliases={"GTV": ["Primary"]})
    assert case.gtv.volume_cc == pytest.approx(volume_cc(8), rel=0.01)
    assert "could be 'Primary' or 'PRIMARY'" in refusal(tmp_path, target="GTV2", aliases={"GTV2": ["pRIMARY"]})


@pytest.mark.parametrize("radii", [(5, 8), (5, 8, 12), (4, 5, 6, 7)])
def test_of_several_rois_of_one_name_none_vanishes(tmp_path, radii):
    drawn = {f"{i}": ("GTV", cylinder(0, r)) for i, r in enumerate(radii)}
    write_phantom_dicom(tmp_path, ct_z=(), structures=drawn)
    rename_rois(tmp_path, ["GTV"] * len(radii))
    found, notes = said(tmp_path)
    numbered = [f"GTV ({i})" for i in range(1, len(radii) + 1)]
    assert [s.name for s in found.structures] == numbered
    assert [s.volume_cc for s in found.structures] == pytest.approx([volume_cc(r) for r in radii], rel=0.01)
    assert f"{len(radii)} structures are called 'GTV'; they are listed as {', '.join(numbered)}" in notes
    assert refusal(tmp_path, target="GTV") == (
        f"{len(radii)} structures are called 'GTV' in RTSTRUCT rs_1.dcm; they are listed as "
        f"{', '.join(map(repr, numbered))}: name one of these, by case.aliases where the name must have no blank"
    )
    for name, radius in zip(numbered, radii, strict=True):
        assert load_case(tmp_path, target=name).gtv.volume_cc == pytest.approx(volume_cc(radius), rel=0.01)
        aliased = load_case(tmp_path, target="GTV", aliases={"GTV": [name]})
        assert aliased.gtv.volume_cc == pytest.approx(volume_cc(radius), rel=0.01)


def test_an_empty_namesake_does_not_stand_in_the_way(tmp_path):
    write_phantom_dicom(
        tmp_path, ct_z=(), structures={"a": ("GTV", []), "b": ("GTV", cylinder(0, 6)), "c": ("GTV", [])}
    )
    rename_rois(tmp_path, ["GTV", "GTV", "GTV"])
    assert load_case(tmp_path, target="GTV").gtv.volume_cc == pytest.approx(volume_cc(6), rel=0.01)
    found, notes = said(tmp_path)
    assert [(s.name, s.is_empty) for s in found.structures] == [("GTV (1)", True), ("GTV", False), ("GTV (2)", True)]
    assert "are called" not in notes


def test_numbers_of_namesakes_avoid_other_names(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), structures={c: ("GTV", cylinder(0, 5 + i)) for i, c in enumerate("abc")})
    rename_rois(tmp_path, ["GTV", "GTV (1)", "GTV"])
    assert [r.name for r in rois_of(scan(tmp_path)[2])] == ["GTV (2)", "GTV (1)", "GTV (3)"]


def test_rois_of_one_number_are_refused_and_contours_in_two_items_are_one_roi(tmp_path):
    """Else one ROI would have the contours of another, or half of its own."""
    write_phantom_dicom(tmp_path, ct_z=())
    whole = load_case(tmp_path, target="GTV").gtv.volume_cc

    def split(data):
        items = data.ROIContourSequence
        items.append(copy.deepcopy(items[1]))
        items[1].ContourSequence, items[-1].ContourSequence = items[1].ContourSequence[:3], items[1].ContourSequence[3:]

    edit(tmp_path, "rs_1.dcm", split)
    assert load_case(tmp_path, target="GTV").gtv.volume_cc == whole
    edit(tmp_path, "rs_1.dcm", lambda d: setattr(d.StructureSetROISequence[2], "ROINumber", 2))
    told = "RTSTRUCT rs_1.dcm: ROINumber 2 is that of 'GTV' and 'SpinalCord', whose contours cannot be told apart; export it"
    assert refusal(tmp_path, target="GTV").startswith(told)
    found, notes = said(tmp_path)
    assert told in notes
    assert (len(found.doses), len(found.plans)) == (1, 1)


def test_a_backslash_is_part_of_a_name(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), structures={"a": ("GTV", cylinder(0, 6)), "b": ("", cylinder(20, 6))})
    edit(tmp_path, "rs_1.dcm", lambda d: setattr(d.StructureSetROISequence[0], "ROIName", ["GTV", "old"]))
    edit(tmp_path, "rs_1.dcm", lambda d: setattr(d.StructureSetROISequence[1], "ROIName", " "))
    assert [s.name for s in inventory(tmp_path).structures] == ["GTV\\old", "ROI 2"]
    assert load_case(tmp_path, target="GTV\\old").gtv.volume_cc == pytest.approx(volume_cc(6), rel=0.01)


def typed(kind):
    def change(data):
        for contour in data.ROIContourSequence[-1].ContourSequence:
            contour.ContourGeometricType = kind

    return change


@pytest.mark.parametrize(
    ("kind", "contours", "reason"),
    [
        ("OPEN_PLANAR", cylinder(20, 6), "has no closed contour, only 7 OPEN_PLANAR contours, which enclose no volume"),
        ("OPEN_NONPLANAR", cylinder(20, 6, 1), "has no closed contour, only 1 OPEN_NONPLANAR contour, which enclose"),
        ("POINT", [np.array([[1.0, 2, 3]])], "has no closed contour, only 1 POINT contour, which enclose no volume"),
        ("CLOSED_PLANAR", [c[:, [2, 1, 0]] for c in cylinder(2, 6)], "only contours in transverse planes can be read"),
        (
            "CLOSED_NONPLANAR",
            [c[:, [0, 2, 1]] for c in cylinder(2, 6)],
            "only contours in transverse planes can be read",
        ),
    ],
    ids=["open", "open and bent", "points", "sagittal", "coronal"],
)
def test_what_encloses_nothing_is_left_out_with_its_reason(tmp_path, kind, contours, reason):
    write_phantom_dicom(tmp_path, ct_z=(), structures=phantom_structures() | {"Bowel": ("ORGAN", contours)})
    edit(tmp_path, "rs_1.dcm", typed(kind))
    case = load_case(tmp_path, target="GTV")
    assert reason in case.left_out["Bowel"]
    with pytest.raises(CaseError, match="Bowel"):
        case.structure("Bowel")
    assert reason in refusal(tmp_path, target="Bowel")
    assert reason in next(s.note for s in inventory(tmp_path).structures if s.name == "Bowel")


def test_open_contours_that_end_where_they_began_are_closed(tmp_path):
    rings = [np.vstack([c, c[:1]]) for c in cylinder(20, 6)]
    write_phantom_dicom(tmp_path, ct_z=(), structures=phantom_structures() | {"Bowel": ("ORGAN", rings)})
    edit(tmp_path, "rs_1.dcm", typed("OPEN_PLANAR"))
    assert load_case(tmp_path, target="GTV").structure("Bowel").volume_cc == pytest.approx(volume_cc(6), rel=0.01)


def test_open_contours_beside_closed_ones_are_told(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), structures=phantom_structures() | {"Bowel": ("ORGAN", cylinder(20, 6))})
    edit(tmp_path, "rs_1.dcm", lambda d: typed("OPEN_PLANAR")(d) or setattr(
        d.ROIContourSequence[-1].ContourSequence[0], "ContourGeometricType", "CLOSED_PLANAR"))  # fmt: skip
    case = load_case(tmp_path, target="GTV")
    assert case.provenance["contours left out"] == "Bowel: 6 OPEN_PLANAR contours"
    assert "6 OPEN_PLANAR contours left out" in next(
        s.note for s in inventory(tmp_path).structures if s.name == "Bowel"
    )


def no_longer_ct(uid, modality):
    def change(data):
        data.SOPClassUID, data.Modality = uid, modality

    return change


@pytest.mark.parametrize(
    ("uid", "modality", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.2.1", "CT", "Enhanced CT Image"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR", "MR Image"),
        ("1.2.840.10008.5.1.4.1.1.4.1", "MR", "Enhanced MR Image"),
        ("1.2.840.10008.5.1.4.1.1.128", "PT", "Positron Emission Tomography Image"),
    ],
)
def test_images_that_are_no_plain_ct_are_called_what_they_are(tmp_path, uid, modality, name):
    write_phantom_dicom(tmp_path)
    edit(tmp_path, "ct_*.dcm", no_longer_ct(uid, modality))
    found, notes = said(tmp_path)
    assert f"no CT that can be read (there is {name}): density comes from the body outline and case.densities" in notes
    assert f"{name}: {len(Z_MM)} files, not read" in notes
    assert (len(found.doses), len(found.plans), len(found.structures)) == (1, 1, 4)
    assert load_case(tmp_path, target="GTV").provenance["density"] == "no CT: water inside the body outline"


def localizer(change):
    def apply(data):
        data.SeriesInstanceUID, data.ImageOrientationPatient = "1.2.3.4", [1, 0, 0, 0, 0, -1]
        change(data)

    return apply


@pytest.mark.parametrize("is_said", [True, False], ids=["typed", "untyped"])
def test_a_topogram_is_left_out(tmp_path, is_said):
    write_phantom_dicom(tmp_path, ct_z=[*Z_MM, 40.0])
    image_type = ["ORIGINAL", "PRIMARY", "LOCALIZER" if is_said else "AXIAL"]
    edit(tmp_path, f"ct_{len(Z_MM):03d}.dcm", localizer(lambda d: setattr(d, "ImageType", image_type)))
    assert load_case(tmp_path, target="GTV").provenance["density"] == f"CT, {len(Z_MM)} slices"
    found, notes = said(tmp_path)
    assert [i.n_slices for i in found.images] == ([len(Z_MM)] if is_said else [len(Z_MM), 1])
    assert ("1 CT localizer (topogram), left out" in notes) == is_said


def test_an_oblique_ct_hides_nothing_else(tmp_path):
    c, s = np.cos(0.1), np.sin(0.1)
    write_phantom_dicom(tmp_path, ct_orientation=(c, s, 0, -s, c, 0))
    found, notes = said(tmp_path)
    assert (len(found.structures), len(found.doses), len(found.plans)) == (4, 1, 1)
    assert "is oblique" in notes


def test_a_step_between_two_neighbouring_ct_slices_is_no_gap(tmp_path):
    """CT slices 3 mm apart below and 6 mm above; the bowel is drawn on those from -9 to 6 mm, one step of them 6 mm."""
    drawn = phantom_structures() | {"Bowel": ("ORGAN", [circle(0, 0, h, 9) for h in (-9, -6, -3, 0, 6)])}
    write_phantom_dicom(tmp_path, ct_z=[*np.arange(-30, 1, 3.0), 6.0, 12.0, 18.0, 24.0, 30.0], structures=drawn)
    case = load_case(tmp_path, target="GTV")
    assert "gaps between slices, left empty" not in case.provenance
    assert case.structure("Bowel").volume_cc == pytest.approx(np.pi * 81 * (15 + 1.5 + 3) / 1000, rel=0.01)
    note = next(s.note for s in inventory(tmp_path).structures if s.name == "Bowel")
    assert note.startswith("slices 3 to 6 mm apart, each reaching half-way to the next")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: setattr(d, "PatientID", "other"), "CT ct_000.dcm is of another patient (PatientID) than RTSTRUCT rs_1.dcm"),
        (lambda d: delattr(d, "RescaleIntercept"), "CT ct_000.dcm: RescaleIntercept is missing; export it again"),
        (lambda d: setattr(d, "RescaleSlope", 0), "CT ct_000.dcm: RescaleSlope is 0, above 0 wanted; export it again"),
        (lambda d: setattr(d, "ImagePositionPatient", [400, 0, d.ImagePositionPatient[2]]),
         "structure 'GTV' (x -7.0 to 17.0, y -15.0 to 9.0, z -4.5 to 16.5 mm) lies outside the CT (x 400.0 to "),
    ],
)  # fmt: skip
def test_a_ct_of_another_patient_or_place_or_without_its_scale_is_refused(tmp_path, change, told):
    write_phantom_dicom(tmp_path)
    edit(tmp_path, "ct_*.dcm", change)
    assert refusal(tmp_path, target="GTV").startswith(told)


def test_files_compressed_with_gzip_are_read(tmp_path):
    whole = load_case(write_phantom_dicom(tmp_path / "plain"), target="GTV")
    folder = write_phantom_dicom(tmp_path / "packed")
    for path in sorted(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load_case(folder, target="GTV")
    np.testing.assert_array_equal(packed.density.values, whole.density.values)
    np.testing.assert_array_equal(packed.doses[0].dose_gy.values, whole.doses[0].dose_gy.values)
    assert packed.gtv.volume_cc == whole.gtv.volume_cc
    assert [s.volume_cc for s in inventory(folder).structures] == [
        s.volume_cc for s in inventory(tmp_path / "plain").structures
    ]


def compressed(data):
    data.PixelData = encapsulate([encoded(data.pixel_array)])
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True


def test_a_ct_in_lossless_jpeg_is_decoded(tmp_path):
    write_phantom_dicom(tmp_path)
    plain = load_case(tmp_path, target="GTV").density
    for path in sorted(tmp_path.glob("ct_*.dcm")):
        data = pydicom.dcmread(path)
        compressed(data)
        data.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
    np.testing.assert_array_equal(load_case(tmp_path, target="GTV").density.values, plain.values)


def test_a_ct_that_cannot_be_decoded_is_refused(tmp_path):
    write_phantom_dicom(tmp_path)
    for path in sorted(tmp_path.glob("ct_*.dcm")):
        data = pydicom.dcmread(path)
        raw = data.PixelData
        compressed(data)
        data.PixelData = encapsulate([raw])
        data.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
    assert refusal(tmp_path, target="GTV").startswith("CT ct_000.dcm: PixelData: cannot be read")


def plane_by_plane(folder, lacking=(), scaling=lambda k: 1.0):
    """Write every plane of the dose of a folder as a file of its own, in another order than that of the planes."""
    whole = pydicom.dcmread(folder / "rd_1.dcm")
    values, z = whole.pixel_array, float(whole.ImagePositionPatient[2])
    (folder / "rd_1.dcm").unlink()
    for k in range(len(values)):
        if k in lacking:
            continue
        plane = copy.deepcopy(whole)
        for keyword in ("NumberOfFrames", "GridFrameOffsetVector", "FrameIncrementPointer"):
            del plane[keyword]
        plane.SOPInstanceUID = f"{whole.SOPInstanceUID}.{k}"
        plane.ImagePositionPatient = [*whole.ImagePositionPatient[:2], z + 3 * k]
        plane.DoseGridScaling = float(whole.DoseGridScaling) * scaling(k)
        plane.PixelData = np.round(values[k] / scaling(k)).astype("<u4").tobytes()
        plane.save_as(folder / f"rd_{(7 * k) % len(values):02d}.dcm", implicit_vr=True, little_endian=True)


@pytest.mark.parametrize("scaling", [lambda k: 1.0, lambda k: 1.0 + 0.25 * (k % 3)], ids=["one scaling", "own scaling"])
def test_a_dose_in_one_file_per_plane_is_put_together(tmp_path, scaling):
    write_phantom_dicom(tmp_path, ct_z=())
    plane_by_plane(tmp_path, scaling=scaling)
    (dose,) = load_case(tmp_path, target="GTV").doses
    x, y, z = np.moveaxis(dose.dose_gy.grid.nodes_mm(), -1, 0)
    np.testing.assert_allclose(dose.dose_gy.values, planned_dose(x, y, z), rtol=0, atol=3e-5)
    assert dose.dose_gy.grid.shape == (17, 29, 21)
    found, notes = said(tmp_path)
    assert [d.shape for d in found.doses] == [(17, 29, 21)]
    assert "17 files of one plane each, put together" in notes


def test_a_plane_that_lacks_is_told(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=())
    plane_by_plane(tmp_path, lacking=(5,))
    assert "they are 3 to 6 mm apart; copy the missing files, or export the dose as one file" in refusal(
        tmp_path, target="GTV"
    )
    assert "they are 3 to 6 mm apart" in said(tmp_path)[1]
