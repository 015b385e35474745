"""The commissioning suite: small studies through the whole simulator, against closed forms and published values.

Every check runs the simulator as a user would and compares one number. Where courses are sampled, four standard errors are
allowed, and a z score tells how many there are; elsewhere, what the discretisation of the study is known to cost. Each sampled
study has a seed of its own, so that z scores of different studies may be summed.
"""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import chdtr, chdtri, ndtr, ndtri

from simulator import __version__
from simulator.commands.layers import covered, uncovered
from simulator.commands.monte_carlo import static_fields
from simulator.commands.z_scores import ZSum
from simulator.execution.study import run
from simulator.ground.files import claim, write_table
from simulator.population.intervals import clopper_pearson_interval, wilson_interval
from simulator.problem.preparation import prepare
from simulator.report import render_commissioning
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.study_file.schema import StudyConfig

_RADIUS_MM, _SD_MM, _RX_GY, _FRACTIONS, _COURSES = 15.0, 3.2, 50.0, 5, 2000
_CELLS_GY = 0.001 * _RX_GY  # what the cells of structures may cost where nothing moves
_VAN_HERK = "van Herk 2000, doi:10.1016/S0360-3016(00)00518-6"
_QUADRATURE = "conditional radial integration over quasi-random errors (standard error below 0.02 %)"


@dataclass(frozen=True)
class Check:
    """One number of the simulator beside what it has to be.

    Parameters
    ----------
    allowed : largest difference that passes, in `unit`.
    source : of the expected value.
    standard_error : of what was found, in `unit`; none where no course is sampled.
    shares_courses : whether a row before it has seen the same courses, so that their z scores are correlated.
    """

    group: str
    name: str
    expected: float
    found: float
    allowed: float
    unit: str
    source: str
    standard_error: float | None = None
    shares_courses: bool = False

    @property
    def covers(self) -> str:
        """Layers of the simulator that the number goes through."""
        return covered(self.group, self.name)

    @property
    def z(self) -> float | None:
        """Found less expected in standard errors; none where no course is sampled."""
        return None if self.standard_error is None else (self.found - self.expected) / self.standard_error

    @property
    def passed(self) -> bool:
        """Whether found and expected agree."""
        return bool(abs(self.found - self.expected) <= self.allowed)


class Sampled(NamedTuple):
    """A number that was found by sampling courses: four standard errors are allowed."""

    name: str
    expected: float
    found: float
    standard_error: float
    unit: str
    source: str
    shares_courses: bool = False

    def check(self, group: str) -> Check:
        """The check of this number."""
        expected, found, error = float(self.expected), float(self.found), float(self.standard_error)
        return Check(group, self.name, expected, found, 4 * error, self.unit, self.source, error, self.shares_courses)


def z_sum(done: list[Check]) -> tuple[ZSum, int]:
    """z scores of sampled rows taken together, and how many rows are left out since they share courses with one of them."""
    sampled = [(check.z, check.shares_courses) for check in done if check.z is not None]
    own = [z for z, shares in sampled if not shares]
    return ZSum.of(own), len(sampled) - len(own)


def commission(
    out: Path, say: Callable[[str], None], *, quick: bool = False, others: "Groups | None" = None
) -> list[Check]:
    """Run every check, or those that take less than half a minute, or others, and write commissioning.html and .csv."""
    claim(out)
    began = time.monotonic()
    done: list[Check] = []
    groups = others or {group: some for group, some in _GROUPS.items() if not (quick and some in _SLOW)}
    for check in checks(groups):
        if not done or done[-1].group != check.group:
            say(check.group.lower())
        done.append(check)
    write_table(
        out / "commissioning.csv",
        [*(field.name for field in fields(Check)), "z", "covers", "passed"],
        [[*asdict(check).values(), check.z, check.covers, check.passed] for check in done],
    )
    total, n_sharing = z_sum(done)
    render_commissioning(
        {
            "groups": {group: [check for check in done if check.group == group] for group in groups},
            "z_line": total.line(n_sharing),
            "uncovered": uncovered(check.covers for check in done),
            "n_checks": len(done),
            "n_passed": sum(check.passed for check in done),
            "version": __version__,
            "machine": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
            "created": time.strftime("%Y-%m-%d %H:%M"),
            "seconds": time.monotonic() - began,
        },
        out / "commissioning.html",
    )
    return done


def checks(groups: "Groups") -> Iterator[Check]:
    """Every check of some groups, one after the other."""
    for group, some in groups.items():
        for row in some():
            if isinstance(row, Sampled):
                yield row.check(group)
                continue
            name, expected, found, allowed, unit, source = row
            yield Check(group, name, float(expected), float(found), float(allowed), unit, source)


Numbers = Iterator[tuple[str, float, float, float, str, str] | Sampled]
Groups = dict[str, Callable[[], Numbers]]


def _sphere(uncertainty: dict[str, Any], *, margins_mm: list[float], **changes: Any) -> StudyConfig:
    """A sphere of 15 mm radius in a radial dose whose 95 % isodose lies at radius plus margin."""
    raw: dict[str, Any] = {
        "name": "commissioning",
        "case": {"phantom": "sphere", "radius_mm": _RADIUS_MM},
        "prescription": {"dose_gy": _RX_GY, "fractions": _FRACTIONS, "isodose_percent": 95},
        "plan": {"model": "penumbra", "penumbra_sd_mm": _SD_MM},
        "uncertainty": uncertainty,
        "strategies": {"margins_mm": margins_mm, "motion": ["none"], "guidance": ["none"]},
        "goals": ["GTV D98% >= 95%", "GTV Dmin >= 95%", "GTV V49Gy >= 90 %"],
        "courses": _COURSES,
    }
    return StudyConfig.model_validate(raw | changes)


def _metric(results: xr.DataTree, name: str) -> np.ndarray:
    """Values (strategy, course) of a metric."""
    return results["metrics"].to_dataset()["value"].sel(metric=f"GTV {name}").to_numpy().astype(float)


def _share(results: xr.DataTree, goal: str) -> np.ndarray:
    """Probability (strategy,) of a goal."""
    return results["goals"].to_dataset()["probability"].sel(goal=f"GTV {goal}").to_numpy()


def _isodose_radius_mm(share: float, margin_mm: float) -> float:
    """Radius at which the dose of the sphere is a share of its maximum."""
    return _RADIUS_MM + margin_mm + (ndtri(0.95) - ndtri(share)) * _SD_MM


def _planned_dose() -> Numbers:
    r98, margins_mm = _RADIUS_MM * 0.98 ** (1 / 3), [0.0, 3.0]
    v49 = 100 * (_isodose_radius_mm(49 / _RX_GY, 0.0) / _RADIUS_MM) ** 3
    for gridded in (False, True):
        plan = {"model": "penumbra", "penumbra_sd_mm": _SD_MM, "gridded": gridded}
        results = run(_sphere({}, margins_mm=margins_mm, plan=plan, courses=4))
        kind = "dose on a 2 mm grid" if gridded else "closed-form dose"
        for i, margin_mm in enumerate(margins_mm):
            d98 = _RX_GY * float(ndtr((_isodose_radius_mm(0.5, margin_mm) - r98) / _SD_MM))
            name = f"D98% of a sphere with {margin_mm:g} mm, {kind}"
            yield name, d98, _metric(results, "D98%")[i, 0], _CELLS_GY, "Gy", "radius of 98 % of the volume"
        name, allowed = f"V49Gy of a sphere with 0 mm, {kind}", 0.2
        yield name, v49, _metric(results, "V49Gy")[0, 0], allowed, "%", "radius of the isodose"
        change = float(np.abs(results["metrics/value"] - results["metrics/nominal"]).max())
        yield f"change of any metric without errors, {kind}", 0, change, 5e-5, "Gy", "no error, no change"


def _lens_share(isodose_mm: float, shift_mm: float) -> float:
    """Share of the sphere within an isodose whose centre is shifted."""
    q, r, s = isodose_mm, _RADIUS_MM, shift_mm
    if s <= q - r:
        return 1.0
    lens = np.pi * (q + r - s) ** 2 * (s**2 + 2 * s * (r + q) - 3 * (r - q) ** 2) / (12 * s)
    return float(lens / (4 / 3 * np.pi * r**3))


def _known_errors() -> Numbers:
    margin_mm = 2.0
    for shift_mm in (2.5, 5.0):
        study = _sphere({"setup": {"mean_mm": [0, 0.6 * shift_mm, -0.8 * shift_mm]}}, margins_mm=[margin_mm], courses=2)
        share = brentq(lambda d, s=shift_mm: _lens_share(_isodose_radius_mm(d, margin_mm), s) - 0.98, 0.01, 0.9999)
        d98 = _RX_GY * share
        yield (
            f"D98% of a sphere shifted by {shift_mm:g} mm", d98, _metric(run(study), "D98%")[0, 0], 2 * _CELLS_GY, "Gy",
            "volume of the lens of two spheres",
        )  # fmt: skip
    shifted = {"baseline": {"mean_mm": [0, 4, 0]}, "setup": {"systematic_mm": [2, 2, 2]}}
    for guidance, target_mm, bone_mm in (("online-target", 0.0, -4.0), ("online-bone", 4.0, 0.0)):
        perfect = {"kind": guidance, "match_mm": [0, 0, 0]}
        study = _sphere(
            shifted, margins_mm=[margin_mm], strategies={"margins_mm": [2], "motion": ["none"], "guidance": [perfect]}
        )
        for name, expected in (("GTV", target_mm), ("", bone_mm)):
            found = _motion(study, name).shift_mm[..., 1]
            worst = found.flat[np.abs(found - expected).argmax()]
            what = "target" if name else "bone"
            yield (
                f"place of the {what} in the beam, target 4 mm posterior, perfect {guidance} match", expected, worst,
                1e-9, "mm", "the beam follows what is matched",
            )  # fmt: skip


def _hottest_gy(radius_mm: float, distance_mm: float, volume_cc: float) -> float:
    """Minimum dose to the hottest part of a ball at a distance from the sphere's centre, planned without margin."""

    def lens_cc(edge_mm: float) -> float:
        r, d = radius_mm, distance_mm
        if edge_mm <= d - r:
            return 0.0
        if edge_mm >= d + r:
            return 4 / 3 * np.pi * r**3 / 1000
        overlap = (edge_mm + r - d) ** 2 * (d**2 + 2 * d * (r + edge_mm) - 3 * (r - edge_mm) ** 2)
        return float(np.pi * overlap / (12 * d) / 1000)

    edge_mm = brentq(lambda r: lens_cc(r) - volume_cc, max(distance_mm - radius_mm, 1e-6), distance_mm + radius_mm)
    return _RX_GY * float(ndtr((_isodose_radius_mm(0.5, 0.0) - edge_mm) / _SD_MM))


def _near_maximum() -> Numbers:
    volumes = (0.035, 0.1, 1.0)
    organs = {f"Ball_{radius}": {"radius_mm": radius, "gap_mm": gap} for radius, gap in ((8, 16), (16, 14), (40, 18))}
    shift_mm = 4.0
    for what, uncertainty, moved_mm, allowed in (
        ("", {}, 0.0, 0.001),
        (f", shifted by {shift_mm:g} mm", {"setup": {"mean_mm": [-shift_mm, 0, 0]}}, shift_mm, 0.002),
    ):
        goals = [f"{name} D{v:g}cc <= 50 Gy" for name in organs for v in volumes]
        case = {"phantom": "sphere", "radius_mm": _RADIUS_MM, "organs": organs}
        values = run(_sphere(uncertainty, margins_mm=[0], case=case, goals=goals, courses=2))["metrics"].to_dataset()[
            "value"
        ]
        for name, organ in organs.items():
            for v in volumes:
                expected = _hottest_gy(organ["radius_mm"], organ["radius_mm"] + organ["gap_mm"] - moved_mm, v)
                found = float(values.sel(metric=f"{name} D{v:g}cc")[0, 0])
                yield (
                    f"D{v:g}cc of a ball of {organ['radius_mm']} mm, {organ['gap_mm']} mm from the dose's centre{what}",
                    expected, found, allowed * _RX_GY, "Gy", "volume of the lens of two spheres",
                )  # fmt: skip


def _motion(study: StudyConfig, structure: str) -> TissueMotion:
    problem = prepare(study)
    return deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, study.courses)).motion(structure)


def _sampled_errors() -> Numbers:
    systematic, random, n = 2.0, 3.0, _FRACTIONS
    setup = {"setup": {"systematic_mm": [systematic] * 3, "random_mm": [random] * 3}}
    place = _motion(_sphere(setup, margins_mm=[0], seed=1), "GTV").shift_mm.reshape(_COURSES, n, 3)
    mean, within = place.mean(axis=1), place.var(axis=1, ddof=1)
    expected = systematic**2 + random**2 / n
    relative = np.sqrt(2 / (3 * _COURSES))
    yield Sampled(
        "variance of course means, Σ = 2 and σ = 3 mm", expected, mean.var(), expected * relative, "mm²", "Σ² + σ²/N"
    )
    spread = random**2 * np.sqrt(2 / (3 * _COURSES * (n - 1)))  # independent of the means: errors are normal
    yield Sampled("variance between fractions, σ = 3 mm", random**2, within.mean(), spread, "mm²", "σ²")
    offline = {"kind": "nal", "measured_fractions": 3, "match_mm": [0, 0, 0]}
    study = _sphere(
        setup, margins_mm=[0], strategies={"margins_mm": [0], "motion": ["none"], "guidance": [offline]}, seed=2,
        prescription={"dose_gy": _RX_GY, "fractions": 8, "isodose_percent": 95},
    )  # fmt: skip
    later = _motion(study, "GTV").shift_mm.reshape(_COURSES, 8, 3)[:, 3:].mean(axis=1)
    expected = random**2 * (1 / 3 + 1 / 5)
    yield Sampled(
        "variance of the mean of fractions 4 to 8 after NAL with 3 images, σ = 3 mm", expected, later.var(),
        expected * relative, "mm²", "σ²/3 + σ²/5; de Boer & Heijmen 2001",
    )  # fmt: skip
    amplitude = 10.0
    for power in (1, 2, 3):
        breathing = {"respiration": {"amplitude_mm": [0, 0, amplitude], "n": power}}
        motion = _motion(_sphere(breathing, margins_mm=[0]), "GTV")
        first, second = (comb(2 * k, k) / 4**k for k in (power, 2 * power))
        z = motion.shift_mm[..., 2]
        for what, value, expected in (("mean", z, 0.0), ("variance", z**2, amplitude**2 * (second - first**2))):
            per_course = (value * motion.weight).sum(axis=1)
            allowed = 4 * per_course.std() / np.sqrt(_COURSES) + 0.005
            yield (
                f"{what} of Lujan breathing about its mean position, 10 mm, n = {power}", expected, per_course.mean(),
                allowed, "mm" if what == "mean" else "mm²", "moments of cos^2n (Lujan 1999)",
            )  # fmt: skip


def _population() -> Numbers:
    setup = {"setup": {"systematic_mm": [2, 2, 2], "random_mm": [2, 2, 2]}}
    once = {"dose_gy": _RX_GY, "fractions": 1, "isodose_percent": 95}
    for seed, margin_mm in enumerate((4, 6, 8), start=3):
        one = run(_sphere(setup, margins_mm=[margin_mm], prescription=once, seed=seed))
        share = float(_share(one, "Dmin >= 95%")[0])
        p = float(chdtr(3, margin_mm**2 / 8))
        yield _probability(
            f"P(Dmin >= 95 %), 1 fraction, {margin_mm} mm", p, share, "chi distribution, 3 degrees of freedom"
        )
    table = {
        4.0: (0.394866, 0.695184, 0.955045),
        5.944: (0.824996, 0.956597, 0.985617),
        7.0: (0.936170, 0.989508, 0.992950),
    }
    for seed, (edge_mm, (p_min, p_98, mean_98)) in enumerate(table.items(), start=6):
        five = run(_sphere(setup, margins_mm=[edge_mm], seed=seed))
        for goal, p in (("Dmin", p_min), ("D98%", p_98)):
            share, again = float(_share(five, f"{goal} >= 95%")[0]), goal != "Dmin"
            yield _probability(f"P({goal} >= 95 %), 5 fractions, {edge_mm:g} mm", p, share, _QUADRATURE, again)
        d98 = 100 * _metric(five, "D98%")[0] / _RX_GY
        name, error = f"mean D98%, 5 fractions, {edge_mm:g} mm", d98.std() / np.sqrt(_COURSES)
        yield Sampled(name, 100 * mean_98, d98.mean(), error, "% of Rx", _QUADRATURE, shares_courses=True)
    small = {"setup": {"systematic_mm": [1, 1, 1], "random_mm": [1, 1, 1]}}
    study = _sphere(
        small, margins_mm=[2.5, 3, 3.5, 4, 4.5], decision={"target_goals": ["GTV Dmin >= 95%"]},
        prescription=once, seed=9,
    )  # fmt: skip
    margins = run(study)["margins"].to_dataset().isel(series=0)
    wide = float((margins["high_mm"] - margins["low_mm"]).max()) / 2
    expected = float(np.sqrt(chdtri(3, 0.1) * 2))
    yield Sampled(
        "margin that 90 % of patients need for Dmin, 1 fraction", expected, float(margins["required_mm"].max()),
        wide / 2, "mm", "chi distribution, 3 degrees of freedom",
    )  # fmt: skip


def _probability(name: str, expected: float, found: float, source: str, shares_courses: bool = False) -> Sampled:
    error = 100 * float(np.sqrt(max(expected * (1 - expected), 1 / _COURSES) / _COURSES))
    return Sampled(name, 100 * expected, 100 * found, error, "%", source, shares_courses)


def _recipes() -> Numbers:
    setup = {"setup": {"systematic_mm": [1, 2, 3], "random_mm": [2, 2, 4]}}
    problem = prepare(_sphere(setup, margins_mm=[0], strategies={
        "margins_mm": ["van-herk"], "motion": ["none"], "guidance": ["none"]}))  # fmt: skip
    for axis, systematic, random, margin_mm in zip(
        ("LR", "AP", "SI"), (1, 2, 3), (2, 2, 4), problem.requests[0].ptvs[0].margin_mm[::2], strict=True
    ):
        expected = 2.5003 * systematic + 1.6449 * (np.hypot(random, _SD_MM) - _SD_MM)
        yield (
            f"van Herk margin along {axis}, Σ = {systematic}, σ = {random} mm",
            expected,
            margin_mm,
            2e-3,
            "mm",
            _VAN_HERK,
        )
    for name, interval, n_met, n, expected in (
        ("Wilson", wilson_interval, 90, 100, (0.825634, 0.944771)),
        ("Clopper-Pearson", clopper_pearson_interval, 450, 500, (0.870299, 0.924864)),
    ):
        for end, value, bound in zip(("lower", "upper"), expected, interval(np.array(n_met), n), strict=True):
            yield (
                f"{name} 95 % interval of {n_met} in {n}, {end} end",
                100 * value,
                100 * float(bound),
                1e-3,
                "%",
                "closed form",
            )


def _synthesised_plan() -> Numbers:
    raw = _sphere({}, margins_mm=[5]).model_dump(mode="json", exclude={"sweep", "numerics"})
    raw |= {"case": {"phantom": "mediastinal"}, "plan": {"model": "conformal-arc"}, "courses": 2}
    raw["prescription"] |= {"isodose_percent": 80}
    plan = run(StudyConfig.model_validate(raw))["plans"].to_dataset().isel(strategy=0)
    yield (
        "PTV D95% of a synthesised plan",
        _RX_GY,
        float(plan["ptv_d95_gy"]),
        0.1,
        "Gy",
        "the prescription isodose covers 95 % of the PTV",
    )
    yield "R100 of a synthesised plan, 0.9 to 1.1", 1.0, float(plan["r100"]), 0.1, "", "RTOG 0813: at most 1.2"
    v90, rule = float(plan["ptv_v90_percent"]), "RTOG 0813: at least 99 %"
    yield "PTV V90% of a synthesised plan, 99.5 to 100", 99.75, v90, 0.25, "%", rule


def _biology() -> Numbers:
    tumour = {"alpha_per_gy": 0.2, "alpha_beta_gy": 10, "clonogens_per_cc": 1.0e7}
    goals = ["GTV D98% >= 95%", "GTV EQD2(10):D98% >= 60 Gy", "GTV gEUD(a=-10) >= 40 Gy", "GTV TCP >= 50 %"]
    margin_mm = 0.0
    results = run(_sphere({}, margins_mm=[margin_mm], goals=goals, biology={"tcp": {"GTV": tumour}}, courses=2))
    d98 = _metric(results, "D98%")[0, 0]
    yield (
        "EQD2 of D98%, alpha/beta 10 Gy", d98 * (d98 / _FRACTIONS + 10) / 12, _metric(results, "EQD2(10):D98%")[0, 0],
        0.02, "Gy", "linear-quadratic model, Fowler 1989",
    )  # fmt: skip

    def shell_mean(of: Callable[[float], float]) -> float:
        def weighted(r: float) -> float:
            return 3 * r**2 / _RADIUS_MM**3 * of(_RX_GY * ndtr((_isodose_radius_mm(0.5, margin_mm) - r) / _SD_MM))

        return float(quad(weighted, 0, _RADIUS_MM)[0])

    geud = shell_mean(lambda gy: gy**-10.0) ** (-1 / 10)
    yield (
        "gEUD of a sphere, a = -10",
        geud,
        _metric(results, "gEUD(a=-10)")[0, 0],
        0.05,
        "Gy",
        "integral over shells; Niemierko 1999",
    )
    clonogens = 1.0e7 * 4 / 3 * np.pi * (_RADIUS_MM / 10) ** 3
    survival = shell_mean(lambda gy: float(np.exp(-0.2 * gy * (1 + gy / _FRACTIONS / 10))))
    yield (
        "TCP of a sphere", 100 * np.exp(-clonogens * survival), _metric(results, "TCP")[0, 0], 0.6, "%",
        "integral over shells; Poisson model",
    )  # fmt: skip


def _reproducibility() -> Numbers:
    setup = {"setup": {"systematic_mm": [2, 2, 2], "random_mm": [2, 2, 2]}}
    numerics = {"max_points": 1000}
    hashes = {
        run(
            _sphere(setup, margins_mm=[3], courses=300, numerics=numerics | {"block_courses": block}), workers=workers
        ).attrs["result_hash"]
        for workers, block in ((1, 250), (2, 250), (2, 70))
    }
    yield "different results by 1 and 2 workers and other blocks", 0, len(hashes) - 1, 0, "", "same seed, same numbers"


_GROUPS: dict[str, Callable[[], Numbers]] = {
    "Planned dose": _planned_dose,
    "6 MV, Monte Carlo": static_fields,
    "Synthesised plan": _synthesised_plan,
    "Near-maximum doses of organs": _near_maximum,
    "Known errors": _known_errors,
    "Sampled errors": _sampled_errors,
    "Population of courses": _population,
    "Recipes and intervals": _recipes,
    "Radiobiology": _biology,
    "Reproducibility": _reproducibility,
}
_SLOW = (_population, _synthesised_plan, _reproducibility)
