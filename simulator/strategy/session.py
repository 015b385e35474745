"""The session of one fraction: how long the patient lies on the couch after the image."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from simulator.ground.spec import Field, Spec

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Timeline:
    """Moments of a fraction that the beam is on, in minutes since the image.

    Parameters
    ----------
    time_min : (instant,), ascending.
    image : (instant,), how many images were taken during the beam before each instant.
    beam_s : time from the first to the last beam, pauses for images left out.
    """

    time_min: np.ndarray
    image: np.ndarray
    beam_s: float

    @property
    def n_images(self) -> int:
        """Images taken during the beam."""
        return int(self.image[-1])

    def first_since(self, interval_s: float) -> np.ndarray:
        """For each instant, the first instant (instant,) of its interval when intervals follow each other from the
        first one on."""
        window = np.floor((self.time_min - self.time_min[0]) * 60 / interval_s + _ROUNDING).astype(int)
        return np.array([int(np.argmax(window == w)) for w in window])


class Session(Spec):
    """Times of a fraction: image, wait, beam. Motion management stretches the beam, further images interrupt it.

    Typical values are judgements within recalled clinical ranges: flattening-filter-free arcs need 1.5-3 min of beam,
    an image with its evaluation 5 min (Kukolowicz 2020, PMC7499080: 5.1 min).
    """

    image_to_beam_s: Annotated[float, Field(ge=0, le=7200)] = Field(
        180.0, description="time from the image to the first beam in s"
    )
    dose_rate_gy_per_min: Annotated[float, Field(ge=0.1, le=100)] = Field(
        4.0, description="prescribed dose per minute of beam, averaged over the arcs, in Gy/min"
    )
    reimaging_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        60.0, description="pause for an image and its match during the beam in s"
    )
    isocentres: Literal["one", "each"] = Field(
        "one",
        description="of several targets: one isocentre for all, or each target about its own, one after the other, with an "
        "image, a match on it and a couch position of its own",
    )

    def beam_on_s(self, fraction_gy: float) -> float:
        """Time in s that the beam needs for the prescribed dose of a fraction."""
        return fraction_gy / self.dose_rate_gy_per_min * 60

    def timeline(self, beam_s: float, image_every_s: float | None, n_instants: int) -> Timeline:
        """Times of equal shares of the beam.

        Parameters
        ----------
        beam_s : time from the first to the last beam without pauses for images.
        image_every_s : time of treatment between images during the beam; None for no further image.
        """
        elapsed = (np.arange(n_instants) + 0.5) / n_instants * beam_s
        image = np.zeros(n_instants, int) if image_every_s is None else (elapsed // image_every_s).astype(int)
        return Timeline((self.image_to_beam_s + elapsed + image * self.reimaging_s) / 60, image, beam_s)

    def whole_min(self, timeline: Timeline) -> float:
        """Minutes from the image to the end of the beam, pauses for images among them."""
        return (self.image_to_beam_s + timeline.beam_s + timeline.n_images * self.reimaging_s) / 60

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"Session: beam {self.image_to_beam_s:g} s after the image at {self.dose_rate_gy_per_min:g} Gy/min; "
            f"an image during the beam takes {self.reimaging_s:g} s"
        )
