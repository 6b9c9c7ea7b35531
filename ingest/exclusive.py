"""What only one thread may do at a time, as it touches what belongs to the whole process."""

import threading

__all__ = ["WHOLE_PROCESS"]

WHOLE_PROCESS = threading.RLock()
"""Held while torch's random state is set and while a model is traced, which exchanges methods of torch's classes."""
