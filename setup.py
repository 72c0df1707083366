"""The optional native engine; everything else about the package is in pyproject.toml.

One library per instruction set, from the same sources: nasbench_robust/native/library.py chooses among them. Where
there is no compiler, or it does not know a flag, that library is left out and the installation succeeds; a wheel
without any of them says so in its name.
"""

import copy
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = Path("src/nasbench_robust/native")
COMMON = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi"]
BUILDS = {"portable": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    BUILDS["avx2"] = ["-mavx2", "-mfma"]
    BUILDS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]

MISSING = """
nasbench-robust is installed WITHOUT its native engine: no C++ compiler built it (see the lines above). Tables are
queried all the same; cells are trained by torch, many times slower. Install a C++ compiler and run pip again.
"""


class BuildEngine(build_ext):
    """Builds the engine, and says aloud where nothing of it was built."""

    def build_extension(self, ext: Extension) -> None:
        """Build one library, with object files of its own: all are of the same sources, and are built at once."""
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name)
        build_ext.build_extension(own, ext)

    def run(self) -> None:
        """Build the extensions."""
        super().run()
        if not any(Path(self.get_ext_fullpath(extension.name)).exists() for extension in self.extensions):
            self.warn(MISSING)


class NamedWheel(bdist_wheel):
    """A wheel whose name says whether it holds the engine: without it, it serves every platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, ABI and platform."""
        has_engine = any(Path(self.bdist_dir).rglob("_engine_*"))
        return super().get_tag() if has_engine else ("py3", "none", "any")


setup(
    ext_modules=[
        Extension(
            f"nasbench_robust.native._engine_{name}",
            sorted(map(str, FOLDER.glob("src/*.cpp"))),
            depends=sorted(map(str, FOLDER.glob("src/*.h"))),
            extra_compile_args=COMMON + flags,
            language="c++",
            optional=True,
            py_limited_api=True,
        )
        for name, flags in BUILDS.items()
    ],
    cmdclass={"build_ext": BuildEngine, "bdist_wheel": NamedWheel},
    options={"build_ext": {"parallel": True}, "bdist_wheel": {"py_limited_api": "cp310"}},
)
