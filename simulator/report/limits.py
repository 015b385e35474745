"""What the model does not know, as every page says it."""

from collections.abc import Mapping
from typing import Any

_ALWAYS = (
    "Static dose cloud: the planned dose stays in space and does not change with the anatomy that moves through it; "
    "`simulate: {model_error: true}` measures what that costs a study.",
    "Structures shift, turn about the isocentre and grow about their centre; they do not deform otherwise. Sources of "
    "error that the study does not list are zero.",
    "Every fraction samples the same breathing waveform; its amplitude, period and baseline may vary.",
    "Guidance follows its rule without anyone's judgement, and nothing is replanned. Pictures of the mean dose show "
    "rotation and filling only as far as they displace the centre of a structure.",
)

_INTERPLAY = {
    "": "There is no interplay between breathing and the delivery sequence.",
    "screen": "Interplay between breathing and the delivery sequence is in no probability; its own section says by how much it "
    "could change them.",
}


def model_limits(about: Mapping[str, Any]) -> list[str]:
    """The limits of the model and of the doses of a study, given the attributes of its results."""
    met = str(about.get("interplay", ""))
    of_parts = _INTERPLAY.get(
        met, f"Interplay is simulated for {met}; all other doses, and all pictures, are blurred over it."
    )
    of_doses = str(about.get("limits_of_doses", ""))
    return [
        *_ALWAYS[:2],
        of_parts,
        *_ALWAYS[2:],
        *([of_doses] if of_doses else []),
        "Phantoms are simple shapes, not patients.",
    ]
