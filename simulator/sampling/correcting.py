"""Correcting: what couch corrections make of what images show, before the beam and during it."""

from dataclasses import replace

import numpy as np

from simulator.ground.conventions import Stream
from simulator.sampling.courses import Setting
from simulator.strategy import Strategy
from simulator.strategy.guidance import Guidance, GuidanceNoise
from simulator.strategy.session import Timeline
from simulator.uncertainty.source import RandomNumbers


def corrected(seen: np.ndarray, guidance: Guidance, setting: Setting, noise: GuidanceNoise) -> np.ndarray:
    """Couch correction at the begin of each fraction; of those that lie behind by what images showed, or as it was."""
    if setting.treated is None:
        return guidance.correct(seen, noise)
    found = setting.treated.found_mm(guidance.matches_target)
    seen, match, behind = seen.copy(), noise.match.copy(), np.flatnonzero(~np.isnan(found[:, 0]))
    seen[:, behind], match[:, behind] = found[behind], 0.0
    correction = guidance.correct(seen, replace(noise, match=match))
    for f, image in enumerate(setting.treated.images):
        if image.corrected_mm is not None:
            correction[:, f] = image.corrected_mm
    return correction


def corrections_during_beam(
    strategy: Strategy,
    setting: Setting,
    draws: RandomNumbers,
    timeline: Timeline,
    left_mm: np.ndarray,
    moved_mm: np.ndarray,
    apart_mm: np.ndarray | None,
) -> np.ndarray:
    """Sum of the corrections after images during the beam, (course, fraction, instant, 3) in mm.

    Parameters
    ----------
    left_mm : (course, fraction, 3), what the match saw less the correction at the begin of the fraction.
    moved_mm : (course, fraction, instant, 3), how the matched anatomy has moved since; an image shows the instant
        before it.
    """
    total = np.zeros_like(moved_mm)
    for image in np.unique(timeline.image[timeline.image > 0]):
        first = int(np.argmax(timeline.image == image))
        before = moved_mm[:, :, first - 1] if first else np.zeros_like(left_mm)
        seen = left_mm + before - (total[:, :, first - 1] if first else 0.0)
        noise = replace(guidance_noise(draws, setting, int(image)), apart_mm=apart_mm)
        total[:, :, first:] += strategy.guidance.correct_again(seen, noise)[:, :, None, :]
    return total


def guidance_noise(draws: RandomNumbers, setting: Setting, image: int) -> GuidanceNoise:
    """Random numbers of an image: number 0 is that before the beam."""
    streams, of = (Stream.GUIDANCE, Stream.COUCH), ""
    if image > 0:
        streams, of = (Stream.GUIDANCE_AGAIN, Stream.COUCH_AGAIN), f"image {image}"
    match, couch = (draws.normals(s, setting.n_fractions, 3, of=setting.numbers_named(of)) for s in streams)
    return GuidanceNoise(match, couch)
