"""What a codec is, and what it says of bytes that it cannot read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..errors import NotSerializable, SharedStateError

_SHOWN = 200


class Codec(ABC):
    """Turns values into bytes and back, or raises :exc:`NotSerializable`."""

    runs_code: ClassVar[bool] = True
    """Whether reading bytes that somebody else wrote may run code of theirs."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What errors, backups and exports call it."""

    @property
    def signs(self) -> bool:
        """Whether it reads signed pickles only."""
        return False

    def takes(self, name: str) -> bool:
        """Whether it reads the bytes of the codec of that name, after :meth:`sign`."""
        return name == self.name

    def sign(self, raw: bytes) -> bytes:
        """The bytes with a signature, if they are a pickle and this codec signs. Reads nothing."""
        return raw

    def verify(self, raw: bytes) -> bytes:
        """The bytes without a signature, if they have one.

        :raises NotSerializable: if this codec signs, and they are a pickle with a wrong signature
            or with none.
        """
        return raw

    def encode(self, value: Any) -> bytes:
        """Return the bytes that :meth:`decode` turns into an equal value.

        :raises NotSerializable: if there are none.
        """
        try:
            # bool is a subclass of int and must come back as a bool.
            return b"%d" % value if type(value) is int else self._dump(value)
        except SharedStateError:
            raise
        except Exception as error:
            # An object's own __reduce__ may raise anything at all.
            deep = isinstance(error, RecursionError)
            raise NotSerializable(
                f"the {self.name} codec cannot store this {type(value).__name__}: "
                f"{'it is nested too deeply' if deep else error}"
            ) from error

    def decode(self, raw: bytes) -> Any:
        """Return the value whose bytes these are.

        :raises NotSerializable: if it cannot be read; the message shows nothing of the bytes.
        """
        try:
            return self._load(raw)
        except SharedStateError:
            raise
        except Exception as error:
            raise NotSerializable(
                f"the {self.name} codec cannot read the stored value: {_reason(error)}"
            ) from error

    @abstractmethod
    def _dump(self, value: Any) -> bytes: ...

    @abstractmethod
    def _load(self, raw: bytes) -> Any: ...


def _reason(error: Exception) -> str:
    """Why a value could not be read, without anything of it: it may be long, or secret."""
    if isinstance(error, (ImportError, AttributeError)):
        return _gone(str(error)[:_SHOWN])
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it was written with another codec, or by another program ({type(error).__name__})"


def _gone(what: str) -> str:
    if "__main__" not in what:
        return f"its class is gone ({what}); restore it, or delete the key"
    return (
        f"its class is gone ({what}): the script that wrote it, __main__, is another one in each "
        "process; define the class in a module that all of them import"
    )
