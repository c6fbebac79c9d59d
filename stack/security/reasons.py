"""Why security does not let a bundle be used, by the reason codes of RFC 9172 §7.1."""

from __future__ import annotations

MISSING = 12
UNKNOWN = 13
UNEXPECTED = 14
FAILED = 15
CONFLICTING = 16


class Unusable(Exception):
    """Why a bundle may not be used: internal to `stack.security`."""

    def __init__(self, reason: int, words: str) -> None:
        super().__init__(words)
        self.reason = reason
