"""The death of a process, as a test within that process sees it."""

from __future__ import annotations


class Died(BaseException):
    """The process is gone: nothing handles it, nothing of it may tidy up, and what it held is not used again."""
