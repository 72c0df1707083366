"""The site: the pages of the repository where they lie, an API reference, figures and notebooks made as it is built.

The source folder is the root of the repository, so that every link between pages leads to the same place here and where
the repository is read. Warnings, missing references and dead links fail the build (``make docs``).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from numpydoc import xref
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))  # for api

import api

from nasbench_robust import load
from nasbench_robust.explorer import write_page
from nasbench_robust.version import __version__

ROOT = Path(__file__).parents[2]

project = "nasbench-robust"
project_copyright = "the nasbench-robust developers"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "matplotlib.sphinxext.plot_directive"]

root_doc = "README"
pages = ["*.md", "data/README.md", "docs/**.md", "docs/**.rst", "analysis/README.md", "analysis/**/README.md"]
include_patterns = [*pages, "examples/*.ipynb"]
exclude_patterns = [".*", "build", "dist", "src", "tests", "generation", "benchmarks", "docs/site/contents.md"]
exclude_patterns += ["analysis/*/release/README.md"]  # another name of a file below it
html_theme = "furo"
html_title = f"nasbench-robust {version}"
html_show_sourcelink = False
html_static_path, html_css_files = ["static"], ["site.css"]
html_theme_options = {"navigation_with_keys": True}

myst_heading_anchors = 4
nitpicky = True
# Types stand in the docstrings, with shapes, units and ranges; those of this package lead to their description.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = api.short_names()
numpydoc_xref_ignore = "all"  # other types are words, or documented elsewhere
xref.DEFAULT_LINKS.clear()  # these lead to sites that cannot be looked at without a network
nitpick_ignore_regex = [("py:class", r"(collections|torch|npt)\..*")]  # bases and aliases

nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # there are none, and these come from a network

plot_include_source = True
plot_html_show_source_link = False
plot_formats = [("png", 150)]
plot_html_show_formats = False


def with_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the table of contents to the first page: it is a page of the repository, and has none there."""
    if page == app.config.root_doc:
        source[0] += "\n" + (ROOT / "docs" / "site" / "contents.md").read_text()


def made_elsewhere(_: Sphinx, __: str, ___: str, value: Any, ____: bool, _____: Any) -> bool | None:
    """Leave out what classes have from other packages, and the fields of tuples, which stand under Attributes."""
    module = getattr(value, "__module__", None) or "nasbench_robust"
    return True if not module.startswith("nasbench_robust") or type(value).__name__ == "_tuplegetter" else None


def finish(app: Sphinx, error: Exception | None) -> None:
    """See that no public name is left out; write the explorer, and the page at which a site is entered."""
    if error is not None:
        return
    out, known = Path(app.outdir), app.env.domains["py"].objects
    for name in sorted(set(api.public_names()) - set(known)):
        logging.getLogger("api").warning("%s is public, and the reference lacks it", name)
    write_page(out / "explorer.html", [load()])
    (out / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=README.html">\n')
    for page in out.rglob("*.html"):
        text = page.read_text()
        for address in re.findall(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="(https?://[^"]*)"', text):
            logging.getLogger("network").warning("%s is loaded from a network by %s", address, page.name)


def setup(app: Sphinx) -> None:
    """Register what is above."""
    api.write_pages(Path(app.srcdir) / "docs" / "api")
    app.connect("source-read", with_contents)
    app.connect("autodoc-skip-member", made_elsewhere)
    app.connect("build-finished", finish)
