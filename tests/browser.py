"""A page in headless Chromium, and everything it says or asks for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def opened(path: Path | None = None, width: int = 1280, height: int = 1000, allowed: tuple[str, ...] = ()) -> Iterator:
    """A file, or an empty page, in a browser; it must not say, ask for or fail in anything but what is allowed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    heard: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(f"request: {request.url}"))
        if path is not None:
            page.goto(path.as_uri())
            heard.remove(f"request: {path.as_uri()}")
        yield page
        browser.close()
    assert not [words for words in heard if not words.startswith(allowed)]
