"""What is in a source tree, and in an editable install, but not in a wheel. All else is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py

# Measuring a borrowed GPU, the page and others, and training nano: for who works on livesam, not for who uses it.
NOT_IN_THE_WHEEL = (
    "livesam.adapter.training",
    "livesam.benchmarks.gpu",
    "livesam.benchmarks.page",
    "livesam.benchmarks.peers",
)


class BuildPy(build_py):
    def run(self) -> None:
        if not self.editable_mode:
            self.packages = [name for name in self.packages if name not in NOT_IN_THE_WHEEL]
        super().run()


setup(cmdclass={"build_py": BuildPy})
