"""Write reference/python/, a page for each room of the package, rendered from docstrings: `python docs/make_api.py`."""

import json
from pathlib import Path

import simulator

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "simulator"
QUIET = "---\nsearch:\n  boost: 0.001\n---\n"  # searches find what users read first
NAMES = """# Public names

Written by `docs/make_api.py`; the texts are the docstrings. [Python](../api.md) says in a table what is what.
"""


def rendered(path: str, **options: object) -> list[str]:
    """The lines that put the docstrings of a module, class or function on a page."""
    return [f"::: {path}", f"    options: {json.dumps(options)}", ""]


def public_names() -> str:
    """The page of what `import simulator` gives."""
    lines = [NAMES]
    for name in simulator.__all__:
        found, title = getattr(simulator, name), f"simulator.{name}"
        path = f"{found.__module__}.{found.__name__}" if hasattr(found, "__module__") else title
        if name != "__version__":
            options = {"heading": title, "toc_label": title, "show_signature_annotations": True}
            lines += rendered(path, heading_level=2, skip_local_inventory=True, **options)
    return "\n".join(lines)


def room_page(room: str) -> str:
    """The page of a room: its docstring, and everything public in its modules."""
    options = {"show_submodules": True, "show_root_heading": False, "heading_level": 2}
    return "\n".join([f"{QUIET}# simulator.{room}\n", *rendered(f"simulator.{room}", **options)])


def api_pages() -> dict[str, str]:
    """Text of each page by its name."""
    rooms = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    return {"names.md": public_names()} | {f"{room}.md": room_page(room) for room in rooms}


if __name__ == "__main__":
    folder = HERE / "reference" / "python"
    folder.mkdir(exist_ok=True)
    for name, text in api_pages().items():
        (folder / name).write_text(text, encoding="utf-8")
