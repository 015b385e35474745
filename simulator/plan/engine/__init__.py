"""Engines: libraries that compute the dose of an RTPLAN's control points in a density. Each is an extra of the distribution."""
