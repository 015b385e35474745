"""Changes of DICOM files on disk, for tests of what readers make of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def change(path: Path, edit: Callable[[Dataset], Any]) -> None:
    """Edit the data set of a file in place."""
    data = pydicom.dcmread(path)
    edit(data)
    data.save_as(path)


def item(**values) -> Dataset:
    """A data set of elements, for a sequence."""
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def with_decimal_commas(path: Path, keyword: str) -> None:
    """Write the decimals of every such element with commas, as some converters do."""
    content = bytearray(path.read_bytes())
    data = pydicom.dcmread(path)
    tag = pydicom.tag.Tag(keyword)
    start = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    at, is_explicit = content.find(start), not data.original_encoding[0]
    while at >= 0:
        head = at + 4 + (2 if is_explicit else 0)
        n = int.from_bytes(content[head : head + (2 if is_explicit else 4)], "little")
        value = slice(head + (2 if is_explicit else 4), head + (2 if is_explicit else 4) + n)
        content[value] = content[value].replace(b".", b",")
        at = content.find(start, value.stop)
    path.write_bytes(bytes(content))


def references(*targets: tuple[str, float]) -> Callable[[Dataset], Any]:
    """Dose references of an RTPLAN: (type, dose in Gy)."""

    def edit(data: Dataset) -> None:
        data.DoseReferenceSequence = Sequence(
            [
                item(DoseReferenceNumber=i, DoseReferenceType=kind, TargetPrescriptionDose=gy)
                for i, (kind, gy) in enumerate(targets, 1)
            ]
        )

    return edit


def groups(*fractions: int | None) -> Callable[[Dataset], Any]:
    """Fraction groups of an RTPLAN."""

    def edit(data: Dataset) -> None:
        data.FractionGroupSequence = Sequence(
            [
                item(FractionGroupNumber=i, **({} if n is None else {"NumberOfFractionsPlanned": n}))
                for i, n in enumerate(fractions, 1)
            ]
        )

    return edit
