"""Elements of DICOM files: what is missing, empty or no number is refused by file and element."""

from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from simulator.ground.reading import reading
from simulator.ground.spec import CaseError

REMEDY = "export it again, or take it out of the folder"
_ELEMENT_BYTES = 8


class Elements:
    """A data set whose elements are read through the door for users' files; items of its sequences are such sets again.

    Parameters
    ----------
    where : kind and name of the file, for messages.
    """

    def __init__(self, data: Any, where: str) -> None:
        self._data = data
        self._where = where

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element; the default where it is absent, None where it is empty."""
        with reading(f"{self._where}: {keyword}", REMEDY):
            value = self._data.get(keyword, default)
        return [Elements(item, self._where) for item in value] if isinstance(value, Sequence) else value

    def __getattr__(self, keyword: str) -> Any:
        """The value of an element that has to be there."""
        if keyword.startswith("_"):
            raise AttributeError(keyword)
        value = self.get(keyword)
        if value is None or value == "":
            raise self.refusal(keyword, "is missing")
        return value

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._data

    def has(self, keyword: str) -> bool:
        """Whether an element is there and has a value, which is not read."""
        element = self._data.get_item(keyword)
        return element is not None and bool(element.value)

    def refusal(self, keyword: str, reason: str) -> CaseError:
        """The error that an element is wrong."""
        return CaseError(f"{self._where}: {keyword} {reason}; {REMEDY}")

    def numbers(self, keyword: str, n: int | None = None) -> np.ndarray:
        """Finite numbers, float64 (n,); as many as wanted where that is said."""
        with reading(f"{self._where}: {keyword}", REMEDY):
            values = np.atleast_1d(np.array(self._decimals(keyword) or getattr(self, keyword), float)).ravel()
        if n is not None and len(values) != n:
            raise self.refusal(keyword, f"has {len(values)} numbers, {n} wanted")
        if not np.isfinite(values).all():
            raise self.refusal(keyword, "is not finite")
        return values

    def _decimals(self, keyword: str) -> list[bytes]:
        """The texts of the numbers of an element not yet converted; a thousand ROIs have millions of them."""
        raw = self._data.get_item(keyword)
        is_text = isinstance(raw, RawDataElement) and (raw.VR or dictionary_VR(raw.tag)) == "DS"
        return raw.value.rstrip(b"\0 ").split(b"\\") if is_text and raw.value else []

    def number(self, keyword: str) -> float:
        """A finite number."""
        return float(self.numbers(keyword, 1)[0])

    def whole(self, keyword: str) -> int:
        """A whole number."""
        value = self.number(keyword)
        if value != int(value):
            raise self.refusal(keyword, f"is {value:g}, a whole number wanted")
        return int(value)


def is_cut_short(data: Any, n_bytes: int, pixels: int = 0) -> bool:
    """Whether a file of `n_bytes` ends before one of its elements does, or before so many bytes of pixels are over.

    What is deflated is not looked at.
    """
    raw = [e for e in map(data.get_item, data.keys()) if getattr(e, "is_raw", False) and e.length < 0xFFFFFFFF]
    if any(len(e.value or b"") < e.length for e in raw) or not len(data):
        return True
    is_deflated = data.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if is_deflated or not raw or raw[-1].tag != max(data.keys()):
        return False
    rest = n_bytes - raw[-1].value_tell - raw[-1].length
    return 0 < rest < _ELEMENT_BYTES or rest < pixels


def pixel_bytes(data: Any) -> int:
    """Size of the pixels of a single image by its header; 0 where they are compressed or it does not say."""
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is not None and (syntax.is_compressed or syntax.is_private):
        return 0
    rows, columns, bits = (data.get(key) or 0 for key in ("Rows", "Columns", "BitsAllocated"))
    return int(rows) * int(columns) * int(bits) // 8
