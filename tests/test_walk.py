"""The pages that answer five questions: there, with commands, and with studies that are valid as they stand."""

import re
from pathlib import Path

import pytest
import yaml
from walk import QUESTIONS, ROOT, steps

from simulator.study_file.schema import StudyConfig

TITLED = re.compile(r'^ *```yaml title="([^"]+)"\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if TITLED.search(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: Path(question.page).stem)
def test_every_question_has_a_page_whose_commands_can_be_walked(question, tmp_path):
    commands = steps(question, tmp_path)
    assert commands
    assert not [command for command in commands if "path/to" in command or "pip install" in command]
    shown = {name for command in commands for name in re.findall(r"simulator (?:run|check) (\S+\.yaml)", command)}
    assert all((tmp_path / name).exists() for name in shown)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_studies_that_a_page_shows_are_valid(path):
    for title, text in TITLED.findall(path.read_text(encoding="utf-8")):
        shown = yaml.safe_load(text)
        if "strategies" in shown:
            assert StudyConfig.model_validate(shown).name, title
