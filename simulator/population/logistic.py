"""Probabilities as smooth functions of what was drawn: logistic regression of many outcomes at once."""

import numpy as np

_STEPS, _RIDGE, _LEAST, _FARTHEST = 8, 1.0, 1e-6, 30.0


def quadratic(shifts: np.ndarray, farthest: float = 4.0) -> np.ndarray:
    """Shifts (course, k) in units of their SD, with squares and products, (course, feature); none farther than `farthest`."""
    distance = np.linalg.norm(shifts, axis=1, keepdims=True)
    near = shifts * np.minimum(1.0, farthest / np.maximum(distance, 1e-9))
    first, second = np.triu_indices(shifts.shape[1])
    return np.concatenate([near, near[:, first] * near[:, second]], axis=1)


def logistic_coefficients(features: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """Coefficients (feature, column) of a ridge logistic regression, by Newton's steps.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 4.4.

    Parameters
    ----------
    features : (course, feature), one of them constant. happened : boolean (course, column).
    """
    n = features.shape[1]
    first, second = np.triu_indices(n)
    products = features[:, first] * features[:, second]
    beta = np.zeros((n, happened.shape[1]))
    curvature = np.empty((happened.shape[1], n, n))
    for _ in range(_STEPS):
        p = chance(features, beta)
        slope = features.T @ (happened - p) - _RIDGE * beta
        upper = (p * (1 - p) + _LEAST).T @ products
        curvature[:, first, second] = curvature[:, second, first] = upper
        beta = beta + np.linalg.solve(curvature + _RIDGE * np.eye(n), slope.T[..., None])[..., 0].T
    return beta


def chance(features: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Probabilities (course, column)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(features @ beta, -_FARTHEST, _FARTHEST))))
