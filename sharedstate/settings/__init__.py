"""The settings: one typed table, which checks them and is what the documentation is made of."""

from .drop_in import own_settings
from .kinds import CONTROL
from .setting import Setting, Settings, changed, check, markdown, refuse_misspelt
from .table import FLASK_CACHINGS, GIBIBYTE, checked, table

__all__ = [
    "CONTROL",
    "FLASK_CACHINGS",
    "GIBIBYTE",
    "Setting",
    "Settings",
    "changed",
    "check",
    "checked",
    "markdown",
    "own_settings",
    "refuse_misspelt",
    "table",
]
