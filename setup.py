"""The shipped studies and their filed results are part of a wheel; everything else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = {"configs": "configs", "results/reference": "reference"}  # in the checkout: in the package


class WithStudies(build_py):
    """Packages, and the studies beside them; a development install finds them in the checkout."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            for source, target in BESIDE.items():
                place = Path(self.build_lib) / "simulator" / target
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("*.py"), dirs_exist_ok=True)


setup(cmdclass={"build_py": WithStudies})
