"""The error hierarchy.

    OrbitferryError
    |- LocalError          we, or the embedding program, misused an interface
    |- DecodeError         bytes from outside break a rule; names the section that they break
    |- SecurityError       a security operation failed; the bundle or block must not be used
    |- PolicyError         a data policy does not allow it; says who would have to be permitted what
    |- ConfigError         a configuration file, plan or flag is wrong; names the key and the remedy
    |- StoreError          the durable store refused or failed
    |  |- StoreFullError   it has no room, or its disk has none
    |- MissingExtraError   a package that comes with an extra is not installed

Bytes from a peer never raise past a protocol engine: engines turn a `DecodeError` into a counted
drop and an event.  `DecodeError` leaves only the codecs.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence


class OrbitferryError(Exception):
    """Base of every error that this project raises on purpose."""


class LocalError(OrbitferryError):
    """Misuse of an interface by this process, not by a peer."""


class DecodeError(OrbitferryError):
    """Octets that are not what a specification allows.

    `section` names the rule (for example ``RFC 9171 §4.2.2``); `offset` is the octet, counted
    from the start of the buffer that was decoded, where the trouble was seen (-1: not known).
    """

    def __init__(self, message: str, section: str, offset: int = -1) -> None:
        where = f" at octet {offset}" if offset >= 0 else ""
        super().__init__(f"{message}{where} [{section}]")
        self.reason = message
        self.section = section
        self.offset = offset


class SecurityError(OrbitferryError):
    """A security operation failed; fail closed."""


class PolicyError(OrbitferryError):
    """The policy of the data does not allow what was asked; the text says what is missing."""


class ConfigError(OrbitferryError, ValueError):
    """Configuration that cannot be used: `key` says where, `remedy` says what to write instead.

    What a part of a file finds wrong with itself names its own key; `stack.core.toml` adds where in
    the file that part is.  `other` is a second key, with which the first does not go together.
    """

    def __init__(self, key: str, message: str, remedy: str = "", *, other: str = "") -> None:
        place = f"{key}: " if key else ""
        beside = f", see {other}" if other else ""
        super().__init__(place + message + beside + (f" ({remedy})" if remedy else ""))
        self.key = key
        self.message = message
        self.remedy = remedy
        self.other = other


class StoreError(OrbitferryError):
    """The store cannot do what was asked; the text says which file and why."""


class StoreFullError(StoreError):
    """There is no room, in the store's quota or on its disk; what is held can still be let go."""


class MissingExtraError(OrbitferryError, ImportError):
    """A package that comes with an extra of this one is not installed; `remedy` installs it."""

    def __init__(self, package: str, extra: str) -> None:
        self.remedy = f"pip install 'orbitferry[{extra}]'"
        super().__init__(f"{package} is not installed ({self.remedy})", name=package)
        self.package = package


def bind_error(key: str, what: str, local: Sequence[object], error: Exception) -> ConfigError:
    """A UDP or TCP port (`what`) of this machine cannot be had, and what can be done about it."""
    remedy = "is another program using it? choose another port, or stop that program"
    why = getattr(error, "strerror", None) or error
    if isinstance(error, PermissionError):
        remedy = "ports below 1024 need privileges: choose a higher one"
    elif isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        remedy = "this machine has no such address; 0.0.0.0 stands for all that it has"
    elif isinstance(error, OverflowError):
        remedy = "choose a lower port"
    return ConfigError(key, f"cannot bind {what} {local[0]}:{local[1]}: {why}", remedy)


def words_of(error: BaseException) -> str:
    """An error in words, its kind first; also when it cannot tell what it is itself."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # somebody else's error, raised by its own words
        return type(error).__name__
