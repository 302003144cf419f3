"""A setting, and what is done with a table of them: check, show, document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigurationError
from .kinds import Kind

Settings = Mapping[str, Any]

_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table.

    :param name: as the configuration of a Flask application has it.
    :param kind: what it accepts.
    :param default: the value where it is not set.
    :param sentence: what it does.
    :param applies: where it applies: ``every store``, or the names of stores, or of parts.
    :param secret: whether its value is never shown: a password, or a URL that may have one.
    :param default_text: how the documentation writes the default, if not as it is.
    """

    name: str
    kind: Kind
    default: Any
    sentence: str
    applies: str
    secret: bool = False
    default_text: str | None = None

    def read(self, settings: Settings) -> Any:
        """The typed value that the settings have, or the default.

        :raises ConfigurationError: if it is wrong. It names the setting, the value unless that is
            secret, and what it can be.
        """
        value = settings.get(self.name, self.default)
        if self.kind.is_unset(value):
            return self.default
        try:
            return self.kind.read(value)
        except (ValueError, TypeError, OverflowError):
            raise self.refusal(value) from None

    def refusal(self, value: Any) -> ConfigurationError:
        """The error for a wrong value."""
        got = "has a wrong value, which is not shown" if self.secret else f"is {value!r}"
        return ConfigurationError(f"{self.name} {got}; it can be {self.kind.takes}")

    def shown(self, value: Any) -> Any:
        """The value, for people: a secret is hidden, and what is no plain value is its text."""
        if self.secret:
            return _HIDDEN
        return value if isinstance(value, (str, int, float, bool)) else str(value)


def check(table: Iterable[Setting], settings: Settings) -> dict[str, Any]:
    """The settings with the value of each in the table typed, or its default.

    What is checked can be checked again, with the same result.

    :raises ConfigurationError: for the first setting that is wrong.
    """
    return {**settings, **{setting.name: setting.read(settings) for setting in table}}


def refuse_misspelt(names: Iterable[Any], known: Iterable[str]) -> None:
    """Refuse a name that is nearly, but not, a known one.

    It would be ignored, and the default would be used in silence.

    :raises ConfigurationError: naming the setting that was meant.
    """
    known = {*known}
    for name in names:
        if isinstance(name, str) and name not in known:
            for meant in get_close_matches(name, known, 1, cutoff=0.9):
                raise ConfigurationError(f"there is no setting {name}; did you mean {meant}?")


def changed(table: Iterable[Setting], settings: Settings) -> dict[str, Any]:
    """What differs from the default, as it may be shown: secrets as ``***``."""
    found = {}
    for setting in table:
        value = setting.read(settings)
        if value != setting.default:
            found[setting.name] = setting.shown(value)
    return found


def markdown(table: Iterable[Setting]) -> str:
    """The table of a documentation page: name, kind, default, where it applies, what it does."""
    rows = ["| setting | kind | default | applies to | |", "|---|---|---|---|---|"]
    for setting in table:
        default = setting.default_text
        if default is None:
            default = "" if setting.default is None else f"`{setting.default}`"
        cells = (f"`{setting.name}`", setting.kind.name, default, setting.applies, setting.sentence)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"
