"""Rate limits: of the application's own, and a storage for the library ``limits``."""

from .gcra import Allowance
from .of_cache import Limits

__all__ = ["Allowance", "Limits"]
