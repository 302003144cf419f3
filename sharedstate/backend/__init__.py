"""What Flask-Caching takes for its backend: the state of an application and its cached results."""

from .backend import Backend
from .results import ResultKey, Results, fit_key

__all__ = ["Backend", "ResultKey", "Results", "fit_key"]
