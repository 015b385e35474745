"""The documentation site: built without a warning, no dead link, nothing from a network, and a search that finds."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import opened

ROOT = Path(__file__).parents[1]
LOOKED_AT = (
    *(
        "index.html",
        "tutorials/index.html",
        "how-to/errors.html",
        "reference/configuration.html",
        "reference/results_file.html",
    ),
    *("reference/python/names.html", "explanation/model.html"),
)


class Page(HTMLParser):
    """Anchors of a page, and what it links to or loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "link", "source", "iframe"):
            self.loaded += [given[key] for key in ("src", "href") if given.get(key)]


def built(folder: Path) -> dict[Path, Page]:
    """Build the site and read its pages; `--quiet` would hide the warnings that `--strict` counts."""
    pytest.importorskip("mkdocs", reason="the site is made by mkdocs: install the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path) for path in folder.rglob("*.html")}


def dead(pages: dict[Path, Page]) -> list[str]:
    """Links and files that lead nowhere, with the page that has them."""
    found = []
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                found.append(f"{path.name}: {link}")
    return found


def test_the_site(tmp_path):
    """One test, so that the site is built once."""
    pages = built(tmp_path.resolve() / "site")
    folder = tmp_path.resolve() / "site"
    everywhere = {path: page for path, page in pages.items() if path.name != "404.html"}
    assert dead(everywhere) == []
    from_network = [
        link for page in pages.values() for link in page.loaded if urlsplit(link).scheme in ("http", "https")
    ]
    assert from_network == []
    for path in everywhere:
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text, path
        assert not re.search(r"<p>[^<]*\|---", text), f"{path}: a table that was not made one"
    for width in (1280, 400):
        looked_at(folder, width)
    found_by_search(folder, "breath-hold")


def looked_at(folder: Path, width: int) -> None:
    """Pages fit the screen; what they ask for lies on this disk."""
    with opened(None, width=width, allowed=("request: file:", "request: data:", "request: blob:")) as page:
        for name in LOOKED_AT:
            page.goto((folder / name).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width, name


def found_by_search(folder: Path, words: str) -> None:
    """A search on a page that was opened from disk."""
    with opened(None, allowed=("request: file:", "request: data:", "request: blob:")) as page:
        page.goto((folder / "index.html").as_uri())
        page.locator("[data-md-component=search-query]").focus()
        page.keyboard.type(words)
        page.wait_for_selector(".md-search-result__item", timeout=30_000)
        assert "The study file" in page.inner_text(".md-search-result__list")


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="b.html#there">b</a> <a href="#here">a</a>', encoding="utf-8"
    )
    (tmp_path / "b.html").write_text('<p><a href="a.html#here">a</a> <img src="c.png">', encoding="utf-8")
    pages = {path: Page(path) for path in tmp_path.resolve().glob("*.html")}
    assert sorted(dead(pages)) == ["a.html: b.html#there", "b.html: c.png"]
