"""Write images/report-*.png, parts of a study's report as Chromium shows them.

`python docs/make_report_parts.py results/mediastinal-station7/report.html`
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT_PX = 900, 620
PARTS = {
    "verdict": "#decision",
    "strategies": "#strategies",
    "prescriptions": "#prescriptions",
    "viewer": "#live-viewer",
    "courses": "#courses figure >> nth=0",
    "required": "#required .scroll >> nth=0",
}


def main(report: Path) -> None:
    """Each part, cut off where it is long, in few colours."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        page.add_style_tag(content=".controls { position: static !important }")  # else it stays above the other parts
        page.wait_for_timeout(3000)
        for name, part in PARTS.items():
            picture = Image.open(BytesIO(page.locator(part).first.screenshot())).convert("RGB")
            picture = picture.crop((0, 0, picture.width, min(picture.height, HEIGHT_PX)))
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
                Path(__file__).parent / "images" / f"report-{name}.png", optimize=True
            )
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
