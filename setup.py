"""The shipped studies live in configs/ and are simulator/configs in a wheel; everything else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithStudies(build_py):
    """Packages, and the studies beside them; a development install finds them in the checkout."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib) / "simulator" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": WithStudies})
