"""Value ↔ bytes.

Every codec writes an ``int`` as plain decimal text, so that a counter is the same bytes with
every codec, ``redis-cli`` shows it as it is, and Redis' own ``INCRBY`` works on it.
"""

from .base import Codec
from .choose import codec_from
from .pickled import PickleCodec, SerializerCodec
from .signed import SignedPickleCodec
from .strict import TEXTS, JSONCodec, MsgpackCodec

__all__ = [
    "TEXTS",
    "Codec",
    "JSONCodec",
    "MsgpackCodec",
    "PickleCodec",
    "SerializerCodec",
    "SignedPickleCodec",
    "codec_from",
]
