"""The dose viewer as a reader meets it: slices, strategies, maps, structures and the dose under the cursor."""

import base64
import io
import re
from importlib.resources import files

import contourpy
import numpy as np
import pytest
from bokeh.embed import file_html
from bokeh.resources import Resources
from browser import opened
from PIL import Image
from synthetic_results import synthetic_results

from simulator.report import render_report
from simulator.report.packing import packed_dose
from simulator.report.viewer import dose_viewer

READOUT = re.compile(r"x (\S+), y (\S+), z (\S+) mm: (?:below )?(\S+) Gy.*density (\S+?)(?:;|$)")


@pytest.fixture(scope="module")
def results():
    """Synthetic results whose tissue is dense at the left, anterior and superior alone."""
    tree = synthetic_results()
    dose = tree["dose"].to_dataset()
    corner = (dose["x"] > 0) & (dose["y"] < 0) & (dose["z"] > 0)
    dose["density"] = (0.1 + 1.7 * corner).transpose("z", "y", "x")
    n = len(dose["strategy"])
    dose["nominal"] = dose["nominal"] * np.linspace(0.8, 1, n)[:, None, None, None]
    tree["dose"].dataset = dose
    return tree


@pytest.fixture(scope="module")
def path(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "viewer.html"
    page = file_html(dose_viewer(results), Resources("inline", log_level="error"), "viewer")
    silent = page.replace("Bokeh.set_log_level(", "Bokeh.logger.set_level(")  # which does not tell that it was called
    path.write_text(silent, encoding="utf-8")
    return path


def pictures(page):
    """Boxes of the axial, coronal and sagittal picture on the screen."""
    page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('viewer-scale').text !== ''")
    page.wait_for_timeout(200)
    return [item.bounding_box() for item in page.locator(".bk-Figure").all()]


def at(box, across, down):
    """A place in a picture, given as shares of its inside."""
    return box["x"] + 55 + across * (box["width"] - 55), box["y"] + down * (box["height"] - 50)


def read(page, box, across, down):
    """Place in mm (x, y, z), dose and density that the readout gives at a place of a picture."""
    page.mouse.move(*at(box, across, down))
    page.wait_for_timeout(100)
    said = page.locator(".bk-clearfix", has_text="density").inner_text()
    found = READOUT.search(said)
    assert found, said
    return [float(number.replace("−", "-")) for number in found.groups()]


def stored(results, name, key, x, y, z):
    return float(results[f"dose/{key}"].sel(strategy=name).sel(x=x, y=y, z=z, method="nearest"))


def chosen(page, label):
    return page.get_by_label(label).evaluate("field => field.value")


def test_the_readout_is_the_map_of_the_strategy_at_the_place(results, path):
    with opened(path) as page:
        boxes = pictures(page)
        for n, (strategy, label, key) in enumerate(
            [
                (None, "planned", "nominal"),
                ("itv, 5 mm, none", "mean", "mean"),
                ("none, 0 mm, none", "standard deviation", "sd"),
            ]
        ):
            if strategy:
                page.get_by_label("Strategy").select_option(strategy)
            page.get_by_label("Dose", exact=True).select_option(label)
            page.wait_for_timeout(300)
            for box in boxes:
                x, y, z, gy, _ = read(page, box, 0.45 + 0.1 * n, 0.35)
                value = stored(results, chosen(page, "Strategy"), key, x, y, z)
                assert gy == pytest.approx(value, abs=70 / 255 / 2 + 0.05)


def test_wheel_slider_and_click_choose_the_planes(path):
    with opened(path) as page:
        axial, coronal, _ = pictures(page)
        start = read(page, axial, 0.5, 0.5)[2]
        for _ in range(2):
            page.mouse.wheel(0, -100)
            page.wait_for_timeout(100)
        up = read(page, axial, 0.51, 0.5)[2]
        assert up > start
        assert page.evaluate("window.scrollY") == 0
        handle = page.get_by_role("slider", name="Axial plane, z (mm)")
        handle.focus()
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(100)
        assert read(page, axial, 0.5, 0.5)[2] == pytest.approx(up - 4)
        x, _, z, *_ = read(page, coronal, 0.3, 0.2)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(200)
        assert read(page, axial, 0.5, 0.5)[2] == pytest.approx(z, abs=2)
        assert float(page.get_by_role("slider", name="Sagittal plane, x (mm)").get_attribute("aria-valuetext")) == (
            pytest.approx(x, abs=2)
        )


def grey(page, box, across, down):
    image = Image.open(io.BytesIO(page.screenshot())).convert("L")
    x, y = at(box, across, down)
    return image.getpixel((round(x), round(y)))


def test_left_anterior_and_superior_are_where_radiology_has_them(path):
    with opened(path) as page:
        axial, coronal, sagittal = pictures(page)
        wash = page.get_by_role("slider", name="Opacity of the wash")
        wash.focus()
        page.keyboard.press("Home")
        page.mouse.move(*at(axial, 0.8, 0.2))  # into the dense corner, so that every section goes through it
        x, y, _, _, density = read(page, axial, 0.7, 0.3)
        assert (x > 0, y < 0) == (True, True)
        page.mouse.down()
        page.mouse.up()
        x, _, z, *_ = read(page, coronal, 0.7, 0.3)
        assert (x > 0, z > 0) == (True, True)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(300)
        _, y, z, _, density = read(page, sagittal, 0.33, 0.3)
        assert (y < 0, z > 0, density) == (True, True, 1.8)
        page.mouse.move(5, 5)
        for box, (across, down) in ((axial, (0.72, 0.2)), (coronal, (0.72, 0.2)), (sagittal, (0.28, 0.2))):
            shades = {(a, d): grey(page, box, a, d) for a in (across, 1 - across) for d in (down, 1 - down)}
            assert max(shades, key=shades.get) == (across, down)
            assert shades[across, down] > 200


def test_a_structure_and_isodose_lines_go_and_come(path):
    drawn = """key => Bokeh.documents[0].get_model_by_name(`viewer-axial-${key}`).data.xs.length"""
    with opened(path) as page:
        pictures(page)
        before, lines = page.evaluate(drawn, "outlines"), page.evaluate(drawn, "isodoses")
        page.get_by_text("Organ1", exact=True).click()
        page.wait_for_timeout(200)
        assert page.evaluate(drawn, "outlines") == before - 1
        field = page.get_by_label("Isodose lines")
        field.fill("80, 3, high")
        field.press("Enter")
        page.wait_for_timeout(200)
        assert page.get_by_text("5 or more wanted, not “3, high”").is_visible()
        assert 0 < page.evaluate(drawn, "isodoses") < lines


SECTION = """async ([packed, shape, level, script]) => {
  const {unpack, cut, contours} = new Function(`${script}; return {unpack, cut, contours}`)()
  packed.bytes = Uint8Array.from(atob(packed.bytes), c => c.charCodeAt(0))
  const volume = await unpack(packed, shape)
  const section = cut(volume, shape, "y", 4, "z", "x")
  return [[...volume], [...section.values], contours(section, level)]
}"""


@pytest.mark.parametrize("stride", [1, 2])
def test_volumes_sections_and_lines_of_the_browser_are_those_of_python(stride):
    z, y, x = np.ogrid[-6:7, -4:5, -7:9]
    gy = 40 + 2.0 * z + 1.0 * y - 1.5 * x if stride == 2 else 30 + 15 * np.sin(z * x + y) + 10 * np.cos(2 * x + z)
    packed = packed_dose(gy, 0.0, stride)
    packed["bytes"] = base64.b64encode(packed["bytes"]).decode()
    script = files("simulator.report").joinpath("volumes.js").read_text(encoding="utf-8")
    with opened() as page:
        volume, section, lines = page.evaluate(SECTION, [packed, gy.shape, 33.0, script])
    kept = gy[tuple(slice(0, n - (n + 1) % stride) for n in gy.shape)]  # beyond the last known voxel it is constant
    back = np.reshape(volume, gy.shape)
    assert np.abs(back - gy)[tuple(map(slice, kept.shape))].max() <= packed["step"] / 2 * 1.001
    section = np.reshape(section, (13, 16))
    np.testing.assert_array_equal(section, back[:, 4, :])
    expected = contourpy.contour_generator(z=section, corner_mask=False).lines(33.0)
    assert sorted(map(len, lines)) == sorted(map(len, expected))
    nodes = [np.unique(np.round(np.concatenate(some), 4), axis=0) for some in (lines, expected)]
    np.testing.assert_allclose(*nodes, atol=1e-3)


def test_it_fits_a_narrow_page(path):
    with opened(path, width=400) as page:
        boxes = pictures(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert all(box["x"] + box["width"] <= 400 for box in boxes)
        assert boxes[0]["y"] < boxes[1]["y"] < boxes[2]["y"]


def test_in_the_report_the_viewer_and_the_page_look_at_the_same_strategy(results, tmp_path):
    path = tmp_path / "report.html"
    render_report(results, path)
    with opened(path) as page:
        page.wait_for_function("document.documentElement.dataset.ready === 'yes'")
        of_page, of_viewer = page.locator("select#strategy"), page.locator("#live-viewer").get_by_label("Strategy")
        for moved, name in ((of_page, "itv, 5 mm, none"), (of_viewer, "none, 0 mm, none")):
            moved.select_option(name)
            page.wait_for_timeout(200)
            assert [field.evaluate("field => field.value") for field in (of_page, of_viewer)] == [name, name]
