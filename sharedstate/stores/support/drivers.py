"""Imports the packages that only some stores need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import ConfigurationError


def import_driver(module: str, extra: str | None = None) -> Any:
    """The module, or a :exc:`ConfigurationError` that says what to install.

    :param extra: the optional dependency that brings it, if that is not its own name.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ConfigurationError(
            f"this store needs the package {package}: pip install 'sharedstate[{extra or package}]'"
        ) from error
