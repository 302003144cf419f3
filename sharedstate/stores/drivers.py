"""Imports the packages that only some stores need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import ConfigurationError


def import_driver(module: str) -> Any:
    """The module, or a :exc:`ConfigurationError` that says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        extra = module.partition(".")[0]
        raise ConfigurationError(
            f"this store needs the package {extra}: pip install 'sharedstate[{extra}]'"
        ) from error
