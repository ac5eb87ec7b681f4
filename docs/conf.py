"""How the documentation is built: `sphinx-build -W -n docs docs/_build`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nanoclaw_trio

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx

project = "nanoclaw_trio"
author = "the nanoclaw_trio authors"
copyright = author  # noqa: A001 - Sphinx's name for it
version = release = nanoclaw_trio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"nanoclaw_trio {version}"
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
napoleon_use_ivar = True
nitpicky = True

# What isn't ours has no entries here: for these Sphinx would have to fetch inventories, and the
# build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(trio|collections|pathlib|datetime|os)\..*"),
    ("py:class", "Path"),
    ("py:class", "datetime"),
]

nitpick_ignore = [
    # Aliases for an annotation each; what they stand for is said beside them.
    ("py:class", "OnOutput"),
    ("py:class", "OnProcess"),
    ("py:class", "Using"),
    ("py:class", "RuntimeName"),
    ("py:class", "ScheduleType"),
    ("py:class", "GroupState"),
    ("py:class", "ContextMode"),
    # Not public: they are named for those who read the source.
    ("py:class", "CredentialProxy"),
    ("py:func", "nanoclaw_trio.protocol.convert.encode_input"),
    ("py:func", "examine_journal"),
    ("py:data", "Event"),
    ("py:class", "nanoclaw_trio.engine.journal.invariant_findings.Rule"),
]


def mark_code(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """An indented paragraph of a docstring is code; reStructuredText wants that said by `::`."""
    for index in range(len(lines) - 1, 1, -1):
        before = [line for line in lines[:index] if line.strip()]
        begins = lines[index].startswith("    ") and not lines[index - 1].strip()
        if begins and before and not before[-1].startswith(" ") and not before[-1].endswith("::"):
            lines[index:index] = ["::", ""]


def link_bare_name(app: Sphinx, env: Any, node: Any, content: Any) -> Node | None:
    """Annotations are only text to autodoc: find the one object that has this name."""
    domain = env.domains["py"]
    found = [name for name in domain.objects if name.endswith(f".{node['reftarget']}")]
    if len(found) != 1:
        return None
    return domain.resolve_xref(  # type: ignore[no-any-return]
        env, node["refdoc"], app.builder, node["reftype"], found[0], node, content
    )


def setup(app: Sphinx) -> None:
    """Called by Sphinx. Before napoleon, which has the usual priority of 500."""
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("missing-reference", link_bare_name)
