"""Backends of the store port: in memory, and durable in SQLite with a payload log."""

from stack.storage.config import StoreConfig as StoreConfig
from stack.storage.files import DamagedError as DamagedError
from stack.storage.memory import MemoryStore as MemoryStore
from stack.storage.sqlite import SqliteStore as SqliteStore
from stack.storage.staged import Staged as Staged
from stack.storage.staged import StagingStore as StagingStore
from stack.storage.writer import StoreWriter as StoreWriter
from stack.storage.writer import WriterConfig as WriterConfig
