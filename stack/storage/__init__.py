"""Backends of the store port: in memory, and durable in SQLite with a payload log."""

from stack.storage.config import StoreConfig
from stack.storage.files import DamagedError
from stack.storage.memory import MemoryStore
from stack.storage.sqlite import SqliteStore
from stack.storage.staged import Staged, StagingStore
from stack.storage.writer import StoreWriter, WriterConfig

__all__ = [
    "DamagedError",
    "MemoryStore",
    "SqliteStore",
    "Staged",
    "StagingStore",
    "StoreConfig",
    "StoreWriter",
    "WriterConfig",
]
