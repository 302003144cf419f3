"""``flask state …``: the commands that every application with our ``Cache`` has."""

from . import commands, moving, resign  # noqa: F401  # which add their commands to the group
from .group import state_group

__all__ = ["state_group"]
