"""The optional native engine; everything else about the package is in pyproject.toml.

One library per instruction set, from the same sources: src/nasbench_robust/native/library.py chooses among them. Where
there is no compiler, or it does not know a flag, that library is left out and the installation succeeds.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("src/nasbench_robust/native")
COMMON = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi"]
BUILDS = {"portable": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    BUILDS["avx2"] = ["-mavx2", "-mfma"]
    BUILDS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]

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
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
