"""Whether chains agree, and how many independent draws theirs are worth.

Source: Gelman et al. 2013, Bayesian Data Analysis, 3rd edition, sections 11.4-11.5 (split R-hat; effective sample by Geyer's
initial positive sequence of pairs).
"""

import numpy as np


def r_hat(draws: np.ndarray) -> float:
    """Potential scale reduction of draws (draw, chain), each chain split in halves; 1 where all agree."""
    halves = _halves(draws)
    n = len(halves)
    within = halves.var(axis=0, ddof=1).mean()
    return float(np.sqrt((n - 1) / n + halves.mean(axis=0).var(ddof=1) / within))


def effective_draws(draws: np.ndarray) -> float:
    """Number of independent draws that tell the mean as well as draws (draw, chain)."""
    halves = _halves(draws)
    n, n_chains = halves.shape
    centred = halves - halves.mean(axis=0)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:n].mean(axis=1) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + halves.mean(axis=0).var(ddof=1)
    correlation = 1 - (within - covariance * n / (n - 1)) / total
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs < 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else None])
    return float(n * n_chains / max(2 * pairs.sum() - 1, 1e-3))


def _halves(draws: np.ndarray) -> np.ndarray:
    n = len(draws) // 2
    return np.concatenate([draws[:n], draws[-n:]], axis=1)
