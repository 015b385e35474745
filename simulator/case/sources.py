"""Where a case on disk comes from: a DICOM-RT folder or a case file, as the study names it."""

from typing import Annotated, Any, Literal

from simulator.case.anatomy import Case
from simulator.ground.reading import reading
from simulator.ground.spec import Field, PositionMm3, Spec, field_validator

DoseIs = Literal["total", "per-fraction"]
_Density = Annotated[float, Field(ge=0.001, le=20)]


class DicomCase(Spec):
    """A folder with RTSTRUCT and, where wanted, CT, RTDOSE and RTPLAN of one patient."""

    dicom: str = Field(description="folder, relative to the study file")
    target: str = Field("GTV", description="name of the target structure")
    structures: tuple[str, ...] | None = Field(None, description="structures to evaluate; all of them when absent")
    aliases: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="standard name: names that the clinic uses for it"
    )
    densities: dict[str, _Density] = Field(
        default_factory=dict, description="density relative to water by structure, over the CT or instead of it"
    )
    structure_set: str | None = Field(None, description="SOP instance UID (or its end) when there are several RTSTRUCT")
    rtplan: str | None = Field(None, description="SOP instance UID (or its end) when there are several RTPLAN")
    rtdoses: tuple[str, ...] | None = Field(None, description="SOP instance UIDs (or their ends) of the RTDOSE to use")
    dose_is: DoseIs | None = Field(
        None, description="what an RTDOSE tagged FRACTION holds: the total of the course, or one fraction"
    )
    end_caps: Literal["half-slice", "none"] = Field(
        "half-slice", description="whether the first and the last contour reach half a slice further (Eclipse: none)"
    )
    keep_identity: bool = Field(False, description="keep the patient's name and UIDs in results and reports")

    @field_validator("target", mode="before")
    @classmethod
    def _is_chosen(cls, target: Any) -> Any:
        if target is None:
            raise ValueError("no target is chosen; write the name of the structure that has to be covered")
        return target

    def build(self) -> Case:
        """Read the folder; raises `CaseError`, whatever is wrong with its files."""
        from simulator.case.dicom import load_dicom

        with reading(f"DICOM folder {self.dicom}", "`simulator inspect` says what each file holds; export it again"):
            return load_dicom(self)


class BallTarget(Spec):
    """A spherical target placed in an anatomy that has none."""

    centre_mm: PositionMm3 = Field(description="centre (x, y, z) in DICOM patient coordinates")
    radius_mm: Annotated[float, Field(ge=2, le=100)] = Field(description="radius in mm")


class ArchiveCase(Spec):
    """A case file (.npz with CT, label masks and, where wanted, dose), or a folder of NIfTI files."""

    file: str = Field(
        description="path of an .npz file, or of a folder of NIfTI files (`ct`, `dose`, a mask for each structure), relative "
        "to the study file"
    )
    target: str = Field("GTV", description="name of the target structure")
    ball: BallTarget | None = Field(None, description="a spherical target, for an anatomy that has none")
    structures: tuple[str, ...] | None = Field(None, description="structures to evaluate; all of them when absent")
    aliases: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="standard name: names that the file uses for it"
    )
    end_caps: Literal["half-slice", "none"] = Field(
        "half-slice", description="whether the first and the last contour reach half a slice further (Eclipse: none)"
    )

    def build(self) -> Case:
        """Read the file; raises `CaseError`."""
        from simulator.case.archive import load_archive

        with reading(f"case file {self.file}", "save it anew with numpy.savez"):
            return load_archive(
                self.file,
                target=self.target,
                ball=(self.ball.centre_mm, self.ball.radius_mm) if self.ball else None,
                structures=self.structures,
                aliases=self.aliases,
                end_caps=self.end_caps,
            )
