"""How Sphinx builds the documentation: ``make docs``, into ``build/docs``."""

import sys
from pathlib import Path

from pallets_sphinx_themes import ProjectLink

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import sharedstate  # noqa: E402

project = "sharedstate"
author = "The sharedstate authors"
copyright = author
version = release = sharedstate.__version__

extensions = ["pallets_sphinx_themes", "myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["requirements.txt"]
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "flask"
html_title = f"sharedstate {version}"
html_static_path = ["_static"]
html_css_files = ["wrap.css"]
html_copy_source = False
html_show_sphinx = False
html_context = {
    "project_links": [ProjectLink("Changes", "changelog.html")],
}
html_sidebars = {
    "index": ["project.html", "localtoc.html", "searchbox.html"],
    "**": ["localtoc.html", "relations.html", "searchbox.html"],
}
