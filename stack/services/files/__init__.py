"""Files and folders of any size, across blackouts and restarts."""

from stack.services.files.config import FilesConfig
from stack.services.files.inbox import Inbox, Place
from stack.services.files.messages import Offer, Outcome
from stack.services.files.policy import Accepts
from stack.services.files.service import FilesService
from stack.services.files.source import Prepared
from stack.services.files.state import FileEvent, Progress, Received
from stack.services.files.steps import InState, OutState

__all__ = [
    "Accepts",
    "FileEvent",
    "FilesConfig",
    "FilesService",
    "InState",
    "Inbox",
    "Offer",
    "OutState",
    "Outcome",
    "Place",
    "Prepared",
    "Progress",
    "Received",
]
