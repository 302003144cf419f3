"""``flask state resign``: signs what was signed with an older key, or with none."""

from __future__ import annotations

import click

from ..errors import NotSerializable
from ..state import State
from ..stores.operations import KEEP, Swap
from .group import as_json, command, print_table
from .records import pairs

VALID, RESIGNED, UNSIGNED, REFUSED = "valid", "resigned", "unsigned", "refused"


def resign(state: State, *, trust_unsigned: bool = False, dry_run: bool = False) -> dict[str, int]:
    """Sign each pickle with the present ``SECRET_KEY``, in the place where it is.

    Nothing is unpickled, and expiries stay. What is written meanwhile is not overwritten.

    :param trust_unsigned: also sign what has no signature: whatever code it runs will be run.
    :returns: how many pickles were ``valid`` already, were ``resigned``, and were left because they
        are ``unsigned``, or ``refused``: signed with a key that is not known, or forged.
    :raises NotSerializable: if the codec of the state signs nothing.
    :raises NotSupported: if the store cannot list its keys.
    """
    if not state.codec.signs:
        raise NotSerializable(
            f"the codec here is {state.codec.name!r}, which signs nothing: signing needs a "
            'SECRET_KEY, and a store in the network or CACHE_CODEC = "signed-pickle"'
        )
    state.keyspace.require("keys", "listing its keys; what is refused has to be deleted, or expire")
    counts = dict.fromkeys((VALID, RESIGNED, UNSIGNED, REFUSED), 0)
    for physical, (found, _) in pairs(state):
        raw: bytes | None = found
        while raw is not None:
            new, kind = _signed(state, raw, trust_unsigned)
            if new == raw or dry_run:
                break
            swapped, raw = state.store.transact((physical,), Swap(raw, new, KEEP, 0))
            if swapped:
                break
        if raw is not None and kind:
            counts[kind] += 1
    return counts


def _signed(state: State, raw: bytes, trust_unsigned: bool) -> tuple[bytes, str]:
    """The bytes with a signature of the present key, and what to count them as."""
    codec = state.codec
    signed = codec.sign(raw)
    if signed != raw:
        return (signed, RESIGNED) if trust_unsigned else (raw, UNSIGNED)
    try:
        verified = codec.verify(raw)
    except NotSerializable:
        return raw, REFUSED
    if verified == raw:
        return raw, ""  # It is no pickle.
    signed = codec.sign(verified)
    return signed, VALID if signed == raw else RESIGNED


@command("resign")
@click.option(
    "--trust-unsigned", is_flag=True, help="Also sign what has no signature, whoever wrote it."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_json
def resign_command(state: State, trust_unsigned: bool, dry_run: bool, as_json: bool) -> None:
    """Sign all pickles with SECRET_KEY, after it has changed. Nothing is unpickled."""
    counts = resign(state, trust_unsigned=trust_unsigned, dry_run=dry_run)
    print_table(counts, as_json)
    if counts[UNSIGNED]:
        click.echo(
            f"{counts[UNSIGNED]} pickles have no signature: if nobody else could write to this "
            "store, --trust-unsigned signs them; if somebody could, delete them",
            err=True,
        )
    if counts[REFUSED]:
        click.echo(
            f"{counts[REFUSED]} pickles are signed with a key that is neither SECRET_KEY nor in "
            "SECRET_KEY_FALLBACKS, or are forged: add that key, or delete them",
            err=True,
        )
    if counts[UNSIGNED] or counts[REFUSED]:
        raise click.exceptions.Exit(1)
