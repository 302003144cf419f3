"""What is done once, or by so many at a time, among all processes."""

from .leader import Leader
from .of_cache import Jobs

__all__ = ["Jobs", "Leader"]
