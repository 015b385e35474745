"""Write images/report.png, the first screen of a study's report and its dose viewer, as Chromium shows them.

`python docs/make_report_picture.py results/mediastinal-station7/report.html`
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1100
PARTS = ("#decision", ".controls", "#strategies .scroll >> nth=0", "#live-viewer")


def main(report: Path) -> None:
    """The parts of the page, one below the other."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        page.wait_for_timeout(2000)
        shots = [Image.open(BytesIO(page.locator(part).screenshot())) for part in PARTS]
        browser.close()
    gap = 12
    picture = Image.new("RGB", (WIDTH, sum(s.height + gap for s in shots) + gap), "white")
    at = gap
    for shot in shots:
        picture.paste(shot, (gap, at))
        at += shot.height + gap
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
        Path(__file__).parent / "images" / "report.png", optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
