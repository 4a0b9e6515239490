"""Sphinx builds the site from the Markdown pages and the docstrings: ``make docs``.

The source folder is the repository, so that a link leads to the same file on the site as on a code host. The
table of contents is the index page, ``docs/README.md``: its headings, and under each the pages it links.
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from docutils.parsers.rst import Parser
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

# Airflow writes its configuration there as soon as it is imported
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parents[1] / "build" / "airflow")

import airflow_provider_ci
from airflow_provider_ci.operators.base import TencentCIBaseOperator

# A link of a page to a module of a package: to its folder's page of the API reference
_MODULE = re.compile(
    r"\]\(\.\./(?:airflow_provider_ci/)?(operators|sensors|triggers|hooks|exceptions|emulator)(?:/[^)]*|\.py)\)"
)


def _linked_code() -> set[str]:
    """Return the paths of all other Python files to which the pages link: each becomes a page."""
    root = Path(__file__).parents[1]
    links = (
        (page.parent / link).resolve()
        for page in (root / "docs").rglob("*.md")
        for link in re.findall(r"\]\(([^)\s:]+\.py)\)", _MODULE.sub("", page.read_text("utf-8")))
    )
    return {str(link.relative_to(root)) for link in links}


project = "airflow-provider-ci"
version = release = airflow_provider_ci.__version__
copyright = "the authors of airflow-provider-ci, Apache License 2.0"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**", "benchmarks/RESULTS.md", "tests/coverage.md", "example_dags/*"]
include_patterns += _linked_code()
exclude_patterns = ["docs/conf.py"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext", ".py": "python"}
myst_heading_anchors = 6

html_theme = "furo"
html_title = f"airflow-provider-ci {release}"
html_copy_source = False
html_show_sphinx = False
# What a browser opens first, although the index is docs/README.html
templates_path = ["site"]
html_additional_pages = {"index": "index.html"}
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 90
python_use_unqualified_type_names = True

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s#]+\.(?:md|rst))\)")
_PAGE = re.compile(r"``docs/([\w-]+)\.md``")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def add_tables_of_contents(_: Sphinx, docname: str, source: list[str]) -> None:
    """Append to the index page a table of contents for each of its headings."""
    if docname != root_doc:
        return
    _, *sections = _HEADING.split(source[0])
    for caption, text in zip(sections[::2], sections[1::2], strict=True):
        source[0] += _table_of_contents(caption, text)


def _table_of_contents(caption: str, text: str) -> str:
    entries = "\n".join(
        f"{link['text']} </{os.path.normpath(Path('docs') / unquote(link['target']))}>"
        for link in _LINK.finditer(text)
    )
    return f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def link_api_reference(_: Sphinx, __: str, source: list[str]) -> None:
    """Lead links to modules, which a code host shows, to the API reference."""
    source[0] = _MODULE.sub(r"](api/\1.rst)", source[0])


class PythonFile(Parser):
    """Makes a page of an example DAG, so that the pages can link to it."""

    supported = ("python",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the page with the file as it is."""
        name = Path(document["source"]).name
        page = nodes.section("", nodes.title(name, name), ids=[nodes.make_id(name)])
        page += nodes.literal_block(inputstring, inputstring, language="python")
        document += page
        metadata = document.settings.env.metadata[document.settings.env.docname]
        metadata["orphan"] = True
        metadata["nosearch"] = "example_dags" not in Path(document["source"]).parts


def _constructors(cls: type[Any]) -> list[type[Any]]:
    """Return the classes of this provider whose arguments a task takes: its own, and those it inherits."""
    return [base for base in cls.__mro__ if base.__module__.startswith("airflow_provider_ci.")]


def _takes(cls: type[Any], argument: str) -> bool:
    """Tell whether an operator takes an argument of its bases: that for one type sets the tag itself."""
    return argument in cls.template_fields or not any(
        argument in getattr(base, "template_fields", ()) for base in _constructors(cls)
    )


def _is_task(what: str, obj: Any) -> bool:
    return what == "class" and issubclass(obj, TencentCIBaseOperator)


def show_inherited_arguments(
    _: Sphinx, what: str, __: str, obj: Any, ___: Any, *____: Any
) -> tuple[str, None] | None:
    """Show all arguments in the signature of an operator, which passes most of them on as ``**kwargs``."""
    if not _is_task(what, obj):
        return None
    arguments: dict[str, inspect.Parameter] = {}
    for base in _constructors(obj):
        for name, parameter in inspect.signature(vars(base).get("__init__", object)).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and _takes(obj, name):
                arguments.setdefault(name, parameter)
    required_first = sorted(arguments.values(), key=lambda each: each.default is not inspect.Parameter.empty)
    return stringify_signature(inspect.Signature(required_first)), None


def add_inherited_arguments(_: Sphinx, what: str, __: str, obj: Any, ___: Any, lines: list[str]) -> None:
    """Append the arguments that an operator inherits to those of its docstring."""
    if not _is_task(what, obj):
        return
    shown = "\n".join(lines)
    for base in _constructors(obj)[1:]:
        for field in re.findall(r"^:param [\s\S]*?(?=^\S|\Z)", inspect.cleandoc(base.__doc__ or ""), re.M):
            if f":{(name := field.split(':', 2)[1])}:" not in shown and _takes(obj, name.split()[-1]):
                lines += field.rstrip().splitlines()
                shown += f":{name}:"


def link_pages(_: Sphinx, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """Make links of the pages that a docstring names."""
    lines[:] = [_PAGE.sub(r":doc:`/docs/\1`", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.add_source_parser(PythonFile)
    app.connect("source-read", add_tables_of_contents)
    app.connect("source-read", link_api_reference)
    app.connect("autodoc-process-signature", show_inherited_arguments)
    app.connect("autodoc-process-docstring", add_inherited_arguments)
    app.connect("autodoc-process-docstring", link_pages)
