"""The posterior of M, S, V and a by plain Metropolis steps: slow, and written from the model alone.

Patients' means are integrated in closed form and their scales of variance on a grid, so that nothing is shared with the
Gibbs sampler: it draws both.
"""

import numpy as np
from scipy.special import gammaln, logsumexp

N_CHAINS = 64
_P, _NU = 3, 2.0
_DIM = _P + 2 * 6
_SHAPES = 1 + 0.5 * 100 ** (np.arange(60) / 59)
_LOG_S = np.linspace(-3.5, 4.5, 41)
_LOWER = np.tril_indices(_P)
_ON_DIAGONAL = _LOWER[0] == _LOWER[1]


def triangle(values):
    """Lower triangles (chain, 3, 3) of six numbers, the diagonal by its logarithm."""
    lower = np.zeros((len(values), _P, _P))
    lower[:, _LOWER[0], _LOWER[1]] = np.where(_ON_DIAGONAL, np.exp(values), values)
    return lower


def log_prior(lower, scale):
    """Huang and Wand 2013, equation 4, of L L' in the six numbers of L: half-t SDs with 2 degrees of freedom."""
    diagonal = np.diagonal(lower, axis1=1, axis2=2)
    inverse = np.linalg.inv(lower)
    precision = (inverse**2).sum(axis=1)
    density = -(_NU + 2 * _P) * np.log(diagonal).sum(axis=1) - (_NU + _P) / 2 * np.log(_NU * precision + scale**-2).sum(
        axis=1
    )
    return density + (np.log(diagonal) * (_P + 1 - np.arange(_P))).sum(axis=1)


def log_likelihood(table, centre, systematic, random, shape):
    """Of all images, patients' means and scales of variance integrated out; triangles of S and V."""
    counts, means, scatters = table
    inverse = np.linalg.inv(random)
    relative = inverse @ systematic
    ratio, axes = np.linalg.eigh(relative @ np.swapaxes(relative, 1, 2))
    off = ((means - centre[:, None]) @ np.swapaxes(inverse, 1, 2)) @ axes
    within = np.einsum("cki,ckj,pij->cp", inverse, inverse, scatters)
    s = np.exp(_LOG_S)
    spread = ratio[:, None, None] + (s / counts[:, None])[..., None]
    log_det = np.log(np.diagonal(random, axis1=1, axis2=2)).sum(axis=1)[:, None, None]
    fit = -(np.log(spread) + off[:, :, None] ** 2 / spread).sum(axis=-1) / 2 - log_det
    days = (counts - 1)[:, None]
    fit = fit - days * (_P / 2 * _LOG_S + log_det) - within[..., None] / (2 * s)
    of_s = shape * np.log(shape - 1) - gammaln(shape) - shape * _LOG_S[:, None] - (shape - 1) / s[:, None]
    return logsumexp(fit + of_s.T[:, None], axis=-1).sum(axis=1)


def sums(shift, patient):
    """Counts, means and scatters of patients."""
    rows = [shift[patient == p] for p in np.unique(patient)]
    scatters = [(of - of.mean(axis=0)).T @ (of - of.mean(axis=0)) for of in rows]
    return np.array([len(of) for of in rows]), np.array([of.mean(axis=0) for of in rows]), np.array(scatters)


def posterior_draws(shift, patient, seed, n_steps, scale=3.0, thin=10):
    """Draws (draw, chain, number): M, SDs of S, SDs of V, three correlations of S, and log(a - 1)."""
    table, rng = sums(shift, patient), np.random.default_rng(seed)
    start = np.concatenate([shift.mean(axis=0), np.where(_ON_DIAGONAL, 0.5, 0), np.where(_ON_DIAGONAL, 0.5, 0)])
    state = start + 0.3 * rng.standard_normal((N_CHAINS, _DIM))
    shape = rng.integers(60, size=N_CHAINS)

    def log_density(state, shape):
        centre, s, v = state[:, :3], triangle(state[:, 3:9]), triangle(state[:, 9:])
        known = log_likelihood(table, centre, s, v, _SHAPES[shape]) - (centre**2).sum(axis=1) / (2 * 20.0**2)
        return known + log_prior(s, scale) + log_prior(v, scale)

    now, steps, kept = log_density(state, shape), 0.1 * np.eye(_DIM), []
    n_warm_up = n_steps // 3
    for step in range(n_steps):
        if step < n_warm_up and step % 100 == 99:
            steps = np.linalg.cholesky(np.cov(state.T) + 1e-6 * np.eye(_DIM))
        size = rng.choice([0.15, 0.4, 0.9], (N_CHAINS, 1)) * 2.4 / np.sqrt(_DIM)
        wanted = state + size * rng.standard_normal((N_CHAINS, _DIM)) @ steps.T
        index = shape + rng.integers(-12, 13, N_CHAINS)
        inside = (index >= 0) & (index < len(_SHAPES))
        there = log_density(wanted, np.where(inside, index, 0))
        taken = inside & (np.log(rng.random(N_CHAINS)) < there - now)
        state, now = np.where(taken[:, None], wanted, state), np.where(taken, there, now)
        shape = np.where(taken, index, shape)
        if step >= n_warm_up and step % thin == 0:
            kept.append(_numbers(state, shape))
    return np.array(kept)


def _numbers(state, shape):
    covariances = [lower @ np.swapaxes(lower, 1, 2) for lower in (triangle(state[:, 3:9]), triangle(state[:, 9:]))]
    sd, days = (np.sqrt(np.diagonal(c, axis1=1, axis2=2)) for c in covariances)
    pairs = np.stack([covariances[0][:, i, j] / (sd[:, i] * sd[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))], axis=1)
    return np.concatenate([state[:, :3], sd, days, pairs, np.log(_SHAPES[shape] - 1)[:, None]], axis=1)
