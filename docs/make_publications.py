"""Write reference/publications.md from publications.bib beside it: `python docs/make_publications.py`."""

import re
from pathlib import Path

PLACE = Path(__file__).parent / "reference"
GROUPS = {
    "margins": "Margins and coverage",
    "guidance": "Image guidance",
    "setup": "Setup and motion of the patient",
    "breathing": "Breathing",
    "organs": "Organs and targets against bone",
    "limits": "Dose limits",
    "biology": "Control and complications",
    "doses": "Doses, volumes and plans",
    "statistics": "Statistics and random numbers",
}
HEAD = """# Publications

Where numbers and methods come from, in BibTeX as [publications.bib](publications.bib), which this page is written from
(`python docs/make_publications.py`). Each number names its source where it stands: in the studies (`simulator examples`),
in [the goal libraries](constraints.md) and in [the model](../explanation/model.md), which also name what is a judgement
or was recalled. [How to cite the simulator](../how-to/citing.md).
"""


def entries(text: str) -> dict[str, dict[str, str]]:
    """Fields by key of a BibTeX file with one field a line."""
    found = {}
    for key, body in re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        found[key] = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", body, re.MULTILINE))
    return found


def line(entry: dict[str, str]) -> str:
    """A publication as an item of a list."""
    names = [name.split(", ")[0] for name in entry.get("author", "").split(" and ") if name]
    several = f"{names[0]} et al." if len(names) > 2 or "others" in names else " & ".join(names)
    several = several or entry.get("institution") or "(authors at the DOI)"
    place = next((entry[k] for k in ("journal", "booktitle", "howpublished", "institution") if k in entry), "")
    place = "" if place == several else place
    where = " ".join(filter(None, (place, entry.get("volume")))) + (f":{entry['pages']}" if "pages" in entry else "")
    doi = entry.get("doi")
    parts = [
        f"{several} {entry['year']}",
        f"*{entry['title']}*" if "title" in entry else "",
        where.replace("--", "-"),
        f"[doi:{doi}](https://doi.org/{doi.replace('(', '%28').replace(')', '%29')})" if doi else "",
    ]
    return f"- {'. '.join(filter(None, parts))}: {entry['note']}."


def page() -> str:
    """The whole page."""
    found = entries((PLACE / "publications.bib").read_text(encoding="utf-8")).values()
    lines = [HEAD]
    for group, title in GROUPS.items():
        lines += [f"## {title}", *(line(entry) for entry in found if entry["keywords"] == group), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    (PLACE / "publications.md").write_text(page(), encoding="utf-8")
