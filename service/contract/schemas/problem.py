"""Errors."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType


class Problem(Struct):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    operation: Annotated[
        int | UnsetType, Meta(description="Which one of a batch was refused, from 0.")
    ] = UNSET
