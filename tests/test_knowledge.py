"""Errors of which only so much is known: courses drawn from what they may be, against closed forms."""

import numpy as np
import pytest
import xarray as xr
from drawing import drawn, strategy
from pydantic import ValidationError
from scipy.special import polygamma
from scipy.stats import chi, chi2, invgamma, kstest, multivariate_normal, multivariate_t, norm, t

from simulator.ground.conventions import Stream, log_normal
from simulator.ground.spec import ConfigError
from simulator.problem.inputs import digests_of_inputs
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.study_file.loading import load_study
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.possible import Possible, posterior_of
from simulator.uncertainty.registration import Isocentre, Registration
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup

ALLOWED_MM = (
    5.2976937  # shift at which D98% of a 15 mm sphere falls to 95 % with a margin of 4 mm: the lens of 15 and 19 mm
)
N = 20_000

# P(D98% >= 95 %) for 8, 15, 30 and 60 patients, systematic errors of 2 mm only; (c) is the default.
ALIKE = {"axes": "alike", "mean_se_mm": 0}, (0.839, 0.882, 0.906, 0.917)
SEPARATE = {"mean_se_mm": 0}, (0.837, 0.885, 0.908, 0.918)
WITH_MEAN = {}, (0.809, 0.866, 0.898, 0.914)
PATIENTS = (8, 15, 30, 60)


def setup(known, **errors):
    return Setup.model_validate({"systematic_mm": 2, "known": known} | errors)


def course_mm(source, n=N, fractions=1, seed=3):
    """Shifts (course, fraction, 3) of the patient in mm."""
    return source.patient_mm(Draws(seed, 0, n), fractions)


def closed_form(variant, patients):
    """The predictive probability by quadrature over Σ, one for all axes, or the three Student t squared and summed."""
    nu = patients - 1
    if variant is ALIKE:
        x = chi2.ppf((np.arange(4000) + 0.5) / 4000, nu)
        return chi.cdf(ALLOWED_MM / 2 / np.sqrt(nu / x), 3).mean()
    scale = 2 * (np.sqrt(1 + 1 / patients) if variant is WITH_MEAN else 1)
    at = (np.arange(400) + 0.5) / 400 * ALLOWED_MM
    weight = 2 * t.pdf(at / scale, nu) / scale * (at[1] - at[0])
    left = np.sqrt(np.maximum(ALLOWED_MM**2 - at[:, None] ** 2 - at**2, 0)) / scale
    return float(weight @ (2 * t.cdf(left, nu) - 1) @ weight)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("variant", [ALIKE, SEPARATE, WITH_MEAN], ids=["alike", "separate", "with mean"])
def test_predictive_coverage_of_the_sphere(variant, place):
    settings, published = variant
    truth = closed_form(variant, PATIENTS[place])
    assert truth == pytest.approx(published[place], abs=0.008)
    source = setup({"patients": PATIENTS[place]} | settings)
    found = (np.linalg.norm(course_mm(source)[:, 0], axis=1) <= ALLOWED_MM).mean()
    assert abs(found - truth) <= 3.3 * np.sqrt(truth * (1 - truth) / N) + 0.002


def test_without_knowledge_every_bit_is_as_before():
    numbers = Draws(3, 0, 50)
    course, daily = numbers.normals(Stream.SETUP_SYSTEMATIC, 3), numbers.normals(Stream.SETUP_RANDOM, 4, 3)
    plain = Setup(systematic_mm=(1, 2, 3), random_mm=(2, 1, 0.5), mean_mm=(0.1, 0, -1))
    expected = (np.array([0.1, 0, -1]) + course * (1, 2, 3))[:, None, :] + daily * (2, 1, 0.5)
    assert np.array_equal(plain.patient_mm(numbers, 4), expected)


def test_knowledge_changes_nobody_elses_numbers():
    errors = {
        "baseline": {"systematic_mm": 1, "random_mm": 1, "after_imaging_sd_mm": 1},
        "registration": {"systematic_mm": 1},
    }
    plain, _ = drawn(Uncertainty.model_validate({"setup": {"systematic_mm": 2}} | errors))
    doubted, _ = drawn(Uncertainty.model_validate({"setup": {"systematic_mm": 2, "known": {"patients": 10}}} | errors))
    assert np.any(plain.patient_mm != doubted.patient_mm)
    for name in ("within_mm", "after_imaging_mm", "misdrawn_mm"):
        assert np.array_equal(getattr(plain, name)["GTV"], getattr(doubted, name)["GTV"])


def test_courses_come_in_any_order():
    source = setup({"patients": 10, "fractions": 40}, random_mm=2, patient_variance_shape=3)
    whole = source.patient_mm(Draws(5, 0, 20), 3)
    assert np.array_equal(whole[13:], source.patient_mm(Draws(5, 13, 7), 3))


def test_a_huge_record_leaves_the_errors_as_stated():
    numbers = Draws(3, 0, 500)
    plain = Setup(systematic_mm=2, random_mm=1).patient_mm(numbers, 3)
    sure = setup({"patients": 100_000, "fractions": 1_000_000}, random_mm=1).patient_mm(numbers, 3)
    assert np.abs(sure - plain).max() < 0.06


def fits(values, law):
    """z of a sample's distance from a law, by Kolmogorov and Smirnov; the p-value itself."""
    return kstest(values, law.cdf).pvalue


def test_systematic_errors_are_student_t_with_the_mean_s_own_error():
    shift = course_mm(setup({"patients": 9}, mean_mm=(1, 0, 0)))[:, 0]
    for axis, mean in enumerate((1, 0, 0)):
        assert fits((shift[:, axis] - mean) / (2 * np.sqrt(1 + 1 / 9)), t(8)) > 1e-4
    judged = course_mm(setup({"patients": 9, "mean_se_mm": (0, 3, 0)}))[:, 0]
    assert fits(judged[:, 0] / 2, t(8)) > 1e-4
    assert judged[:, 1].var() == pytest.approx(4 * 8 / 6 + 9, rel=0.05)


def test_random_errors_have_fractions_minus_patients_degrees_of_freedom():
    source = Setup.model_validate({"random_mm": 3, "known": {"patients": 5, "fractions": 14}})
    days = source.patient_mm(Draws(1, 0, N), 2)
    assert fits(days[:, 1, 2] / 3, t(9)) > 1e-4
    together = (days**2).sum(axis=1) / 9  # both days of a course share their σ: F(2, 9)
    assert together[:, 0].mean() == pytest.approx(2 * 9 / 7, rel=0.03)
    assert np.corrcoef(together[:, 0], together[:, 1])[0, 1] == pytest.approx(0, abs=0.02)  # axes are independent
    alike = source.model_copy(update={"known": Known(patients=5, fractions=14, axes="alike")})
    squares = np.abs(alike.patient_mm(Draws(1, 0, N), 2)[:, 0])
    assert np.corrcoef(squares[:, 0], squares[:, 1])[0, 1] > 0.05


def test_a_factor_holds_95_percent():
    (shifts,) = setup({"factor": 1.5}, random_mm=1).not_exact()
    errors = shifts.possible(np.random.default_rng(0).random((N, 10)))
    systematic, random = (np.sqrt((root**2).sum(axis=2)) for root in (errors.systematic, errors.random))
    assert np.quantile(systematic[:, 0] / 2, (0.025, 0.5, 0.975)) == pytest.approx((1 / 1.5, 1, 1.5), rel=0.02)
    assert np.array_equal(systematic[:, 0], systematic[:, 1])
    assert abs(np.corrcoef(systematic[:, 0], random[:, 0])[0, 1]) < 0.02
    assert np.all(errors.mean == 0)


def test_axes_stay_correlated():
    shift = course_mm(setup({"patients": 20}, correlation=(0.6, 0, -0.3)))[:, 0]
    assert np.corrcoef(shift.T)[np.triu_indices(3, 1)] == pytest.approx((0.6, 0, -0.3), abs=0.04)


@pytest.mark.parametrize("more", [{}, {"known": {"patients": 5, "fractions": 20}}, {"patient_variance_shape": 2}])
def test_organs_follow_the_shifts_that_patients_have(more):
    """Over the stated SDs, less the mean, on axes with a spread."""
    sds = {"systematic_mm": (1, 2, 0), "random_mm": (2, 0, 1), "mean_mm": (0, 1, 2)}
    numbers, baseline = Draws(3, 0, 50), Baseline.model_validate(sds | more)
    shift = baseline.within_mm(numbers, 2, "GTV")["GTV"]
    course, fraction = baseline.followed(numbers, 2)
    found = sds["mean_mm"] + course[:, None] * sds["systematic_mm"] + fraction * sds["random_mm"]
    np.testing.assert_allclose(found, shift, atol=1e-9)


def test_one_scale_of_variance_per_patient():
    source = Setup(random_mm=(1, 2, 3), patient_variance_shape=3)
    days = source.patient_mm(Draws(2, 0, 4000), 200) / (1, 2, 3)
    scale = (days**2).mean(axis=(1, 2))
    assert fits(scale, invgamma(3, scale=2)) > 1e-4
    assert scale.mean() == pytest.approx(1, abs=4 * scale.std() / np.sqrt(4000))
    shifted = Baseline(random_mm=1, after_imaging_sd_mm=1, patient_variance_shape=3)
    for moved in (
        shifted.within_mm(Draws(2, 0, 4000), 200, "GTV")["GTV"],
        shifted.after_imaging_mm(Draws(2, 0, 4000), 200),
    ):
        assert fits((moved**2).mean(axis=(1, 2)), invgamma(3, scale=2)) > 1e-4


def test_the_other_sources():
    known = {"patients": 12}
    numbers = Draws(4, 0, N)
    law = t(11, scale=2 * np.sqrt(1 + 1 / 12))
    baseline = Baseline.model_validate(
        {"systematic_mm": 2, "known": known, "after_imaging_systematic_mm": 2, "after_imaging_known": known}
    )
    turned = Setup.model_validate({"systematic_deg": 2, "known": known})
    drawn_mm = {
        "imaged": baseline.within_mm(numbers, 1, "GTV")["GTV"][:, 0],
        "after": baseline.after_imaging_mm(numbers, 1)[:, 0],
        "registration": Registration.model_validate({"systematic_mm": 2, "known": known}).misdrawn_mm(numbers),
        "isocentre": Isocentre.model_validate({"systematic_mm": 2, "known": known}).unseen_mm(numbers),
        "rotation": turned.draw_rotation(numbers, 1)[:, 0],
    }
    for name, shift in drawn_mm.items():
        assert fits(shift[:, 1], law) > 1e-4, name
    assert np.all(turned.patient_mm(numbers, 1) == 0)


def test_an_amplitude_known_to_a_factor():
    for cv in (0.0, 0.3):
        source = Respiration.model_validate({"amplitude_mm": (0, 0, 10), "course_cv": cv, "known": {"factor": 1.5}})
        size = source.draw(Draws(2, 0, N), source.waveform("GTV"), 2, 4).size
        assert np.array_equal(size[:, 0], size[:, 1])
        sd = np.hypot(np.log(1.5) / 1.95996, np.sqrt(np.log1p(cv**2)))
        assert fits((np.log(size[:, 0]) + np.log1p(cv**2) / 2) / sd, norm) > 1e-4
    exact = Respiration(amplitude_mm=(0, 0, 10), course_cv=0.3)
    z = Draws(2, 0, 9).normals(Stream.RESPIRATION_COURSE, 1)
    assert np.array_equal(exact.draw(Draws(2, 0, 9), exact.waveform("GTV"), 1, 4).size, log_normal(z, 0.3))
    for wrong, message in (({"patients": 9}, "say factor here"), ({"factor": 2}, "the amplitude is zero")):
        moves = {"amplitude_mm": (0, 0, 10)} if "patients" in wrong else {}
        with pytest.raises(ValidationError, match=message):
            Respiration.model_validate(moves | {"known": wrong})


def test_organs_follow_the_shift_that_the_target_makes():
    known = {"patients": 8, "fractions": 40}
    uncertainty = Uncertainty.model_validate(
        {
            "baseline": {"systematic_mm": 2, "random_mm": 1, "mean_mm": 1, "known": known},
            "organs": {"Bladder": {"systematic_mm": 4, "random_mm": 2, "correlation": 1}},
        }
    )
    courses, place = drawn(uncertainty, n_courses=50)
    moved = deliver(courses, strategy(), place).internal_mm["Bladder"]
    assert moved[:, :, 0] == pytest.approx(2 * (courses.within_mm["GTV"] - 1))


def test_a_patients_daily_spread_is_at_most_five_times_the_stated_one():
    """Shape 1.3: one patient in some 400 would have more; of 200 days, an SD is known to a twentieth."""
    days_mm = Setup(random_mm=1, patient_variance_shape=1.3).patient_mm(Draws(2, 0, 4000), 200)
    spread_mm = days_mm.std(axis=1).max(axis=1)
    assert np.sum(spread_mm > 4.5) > 4
    assert spread_mm.max() < 5 * (1 + 4 / np.sqrt(2 * 200))


@pytest.fixture(scope="module")
def posterior(tmp_path_factory):
    """A posterior file of small spread: M (1, 2, 3), Σ (1, 2, 3), σ 1, LR and AP of the systematic errors correlated."""
    rng = np.random.default_rng(7)
    n = 4000
    axes = ("draw", "axis", "other_axis")
    wide = np.exp(rng.normal(0, 0.2, (n, 1, 1))) * np.array([[1, 1, 0], [1, 4, 0], [0, 0, 9]])
    draws = xr.Dataset(
        {
            "mean_mm": (("draw", "clinic", "axis"), np.array([[1, 2, 3], [4, 4, 4]]) + rng.normal(0, 0.5, (n, 2, 3))),
            "systematic_covariance_mm2": (axes, wide),
            "random_covariance_mm2": (axes, np.exp(rng.normal(0, 0.1, (n, 1, 1))) * np.eye(3)),
            "patient_variance_shape_mm": (("draw",), rng.uniform(4, 6, n)),
        }
    )
    draws.attrs = {"patients": 20, "images": 111}
    path = tmp_path_factory.mktemp("errors") / "posterior.nc"
    draws.to_netcdf(path, engine="h5netcdf")
    return path


def of_posterior(path, **changes):
    errors = {"systematic_mm": (1, 2, 3), "random_mm": 1, "mean_mm": (1, 2, 3), "known": {"posterior": str(path)}}
    return Setup.model_validate(errors | changes)


def test_a_posterior_file(posterior):
    shift = of_posterior(posterior).patient_mm(Draws(6, 0, N), 2)
    days = np.diff(shift, axis=1)[:, 0] / np.sqrt(2)
    own = shift.mean(axis=1)
    assert own.mean(axis=0) == pytest.approx((1, 2, 3), abs=0.1)
    growth = np.exp(0.2**2 / 2)
    expected = growth * np.array([1, 4, 9]) + 0.25 + 0.5 * np.exp(0.005)
    assert own.var(axis=0) == pytest.approx(expected, rel=0.06)
    assert np.cov(own.T)[0, 1] == pytest.approx(growth, rel=0.1)
    assert days.var(axis=0) == pytest.approx(np.full(3, np.exp(0.005)), rel=0.06)
    (shifts,) = of_posterior(posterior).not_exact()
    assert shifts.record() == (20, 111)
    moved = of_posterior(posterior, mean_mm=0).patient_mm(Draws(6, 0, N), 2)
    assert moved.mean(axis=(0, 1)) == pytest.approx((0, 0, 0), abs=0.1)  # the mean was mended since, its error stays


def test_the_mean_of_a_clinic_among_several(posterior):
    known = {"posterior": str(posterior), "clinic": 2}
    own = of_posterior(posterior, known=known).patient_mm(Draws(6, 0, N), 2).mean(axis=1)
    moved = of_posterior(posterior, known=known, mean_mm=0).patient_mm(Draws(6, 0, N), 2).mean(axis=1)
    assert (own - moved).mean(axis=0) == pytest.approx((1, 2, 3), abs=1e-6)
    for clinic, mean_mm in ((1, (1, 2, 3)), (2, (4, 4, 4))):
        assert posterior_of(str(posterior), "mm", clinic).mean.mean(axis=0) == pytest.approx(mean_mm, abs=0.05)


@pytest.mark.parametrize(
    ("name", "value"),
    [("systematic_covariance_mm2", 0), ("random_covariance_mm2", 0), ("random_covariance_mm2", np.nan),
     ("patient_variance_shape_mm", 1)],
)  # fmt: skip
def test_draws_that_are_no_errors_are_refused(posterior, tmp_path, name, value):
    draws = xr.load_dataset(posterior, engine="h5netcdf")
    draws[name][5] = value
    draws.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with pytest.raises(ConfigError, match="not every draw is a possible error"):
        posterior_of(str(tmp_path / "posterior.nc"), "mm", 1)


def test_densities_are_those_of_the_normal_and_of_students_law():
    """Up to factors of 2π; a scale of variance per patient, mean 1 and shape a, makes a t of 2a degrees of freedom."""
    rng = np.random.default_rng(3)
    covariances = [
        [root @ root.T for root in np.tril(rng.normal(0, 0.2, (2, 3, 3))) + np.diag((1, 2, 1.5))] for _ in "ab"
    ]
    mean, shape = rng.normal(size=(2, 3)), np.array([3.0, 4.5])
    found = Possible(mean, *(np.linalg.cholesky(covariance) for covariance in covariances), shape)
    course, fraction = rng.normal(size=(4, 3)), rng.normal(size=(4, 5, 3))
    for draw, (systematic, random, a) in enumerate(zip(*covariances, shape, strict=True)):
        normal = multivariate_normal(mean[draw], systematic).logpdf(course) + 1.5 * np.log(2 * np.pi)
        student = multivariate_t(np.zeros(15), np.kron(np.eye(5), random) * (a - 1) / a, 2 * a)
        np.testing.assert_allclose(found.log_of_course(course)[:, draw], normal, atol=1e-4)
        expected = student.logpdf(fraction.reshape(4, 15)) + 7.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(found.log_of_fractions(fraction)[:, draw], expected, atol=1e-4)


@pytest.mark.parametrize("factor", [1.1, 1.2])
def test_a_factor_is_worth_a_record_whose_sd_is_as_uncertain(factor):
    """The logarithm of an SD of ν degrees of freedom has the variance ψ'(ν/2) / 4."""
    patients, images = Known(factor=factor).record()
    assert images - patients == pytest.approx(patients - 1)
    for degrees in (patients - 1, images - patients):
        assert np.sqrt(polygamma(1, degrees / 2) / 4) == pytest.approx(np.log(factor) / 1.96, rel=0.02)


def test_a_stated_doubt_of_the_mean_in_mm_is_none_of_rotations():
    known, spread = Known(patients=9, mean_se_mm=(1, 2, 3)), np.full((4, 3), 1.5)
    np.testing.assert_array_equal(known.mean_se(spread, True), np.tile((1.0, 2.0, 3.0), (4, 1)))
    np.testing.assert_array_equal(known.mean_se(spread, False), 0)
    np.testing.assert_allclose(Known(patients=9).mean_se(spread, False), 0.5)


def test_as_many_images_as_patients_and_two_tell_of_the_daily_spread():
    assert Known(patients=9, fractions=11).record() == (9, 11)
    assert Known(patients=9).record() == (9, 0)
    with pytest.raises(ValueError, match="11 or more are wanted"):
        Known(patients=9, fractions=10)


STUDY = """name: doubted
case: {phantom: sphere, radius_mm: 15}
prescription: {dose_gy: 50, fractions: 5, isodose_percent: 95}
plan: {model: penumbra, penumbra_sd_mm: 3.2, normalisation: plateau}
uncertainty:
  setup: SETUP
strategies: {margins_mm: [4], motion: [none], guidance: [none]}
goals: ["GTV D98% >= 95%"]
"""


def written(folder, setup):
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("SETUP", setup), encoding="utf-8")
    return path


def test_the_path_of_a_posterior_starts_from_the_study(posterior, tmp_path):
    (tmp_path / "posterior.nc").write_bytes(posterior.read_bytes())
    errors = "{systematic_mm: [1, 2, 3], random_mm: 1, mean_mm: [1, 2, 3], known: {posterior: posterior.nc}}"
    study = load_study(written(tmp_path, errors))
    assert study.uncertainty.setup.known.posterior == str(tmp_path / "posterior.nc")
    (name,) = digests_of_inputs(study, study.case.build())
    assert name == "uncertainty.setup.known.posterior: posterior.nc"


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("{systematic_mm: 2, known: {patients: 2}}", "known.patients: has to be greater than or equal to 3"),
        ("{systematic_mm: 2, known: {factor: 1}}", "known.factor: has to be greater than 1"),
        ("{systematic_mm: 2, known: {}}", "one of patients, factor and posterior says what is known, got none"),
        ("{systematic_mm: 2, known: {patients: 9, factor: 2}}", "got patients and factor"),
        (
            "{systematic_mm: 2, known: {factor: 2, fractions: 90}}",
            "fractions goes with patients; leave it out beside factor",
        ),
        ("{known: {patients: 9}}", "known: there is no error that it could be about"),
        ("{systematic_mm: 2, random_mm: 1, known: {patients: 9}}", "known: fractions is missing"),
        (
            "{systematic_mm: 2, known: {patients: 9, fractions: 45}}",
            "and there is no σ; write it or leave fractions out",
        ),
        ("{systematic_mm: 2, random_mm: 1, known: {patients: 9, fractions: 9}}", "11 or more are wanted"),
        (
            "{random_mm: 2, known: {patients: 9, fractions: 99, mean_se_mm: 1}}",
            "mean_se_mm is above 0 on an axis without Σ",
        ),
        ("{systematic_mm: 2, correlation: [1, 0, 0], known: {patients: 9}}", "axes that are one (correlation 1 or -1)"),
        (
            "{systematic_mm: 2, random_mm: 1, patient_variance_shape: 1}",
            "patient_variance_shape: has to be greater than 1",
        ),
    ],
)
def test_wrong_knowledge_is_refused(errors, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_study(written(tmp_path, errors))
    assert message in str(caught.value)
    assert "study.yaml:6" in str(caught.value)


def test_posteriors_that_do_not_fit_are_refused(posterior, tmp_path):
    def of(path, **changes):
        for shifts in of_posterior(path, **changes).not_exact():
            shifts.check()

    of(posterior)
    with pytest.raises(
        ConfigError, match=r"Σ along SI is stated as 9 mm, and every draw of .* write the median, 2\.99"
    ):
        of(posterior, systematic_mm=(1, 2, 9))
    with pytest.raises(ConfigError, match=r"holds no posterior of rotations; the record had none"):
        of(posterior, systematic_deg=1, random_deg=1)
    with pytest.raises(ConfigError, match=r"holds the means of 2 clinics, and clinic 3 is asked for"):
        of(posterior, known={"posterior": str(posterior), "clinic": 3})
    with pytest.raises(ConfigError, match=r"no file .*none\.nc; give the path of posterior\.nc"):
        of(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("patient,fraction", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"text\.nc is no posterior file"):
        of(tmp_path / "text.nc")
    with pytest.raises(ValidationError, match="patient_variance_shape: the posterior file knows it"):
        of_posterior(posterior, patient_variance_shape=3)
    with pytest.raises(ValidationError, match="a posterior of shifts is for setup and baseline"):
        Registration.model_validate({"systematic_mm": 1, "known": {"posterior": str(posterior)}})
