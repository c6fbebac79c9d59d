"""Files and folders of any size, across blackouts and restarts."""

from stack.services.files.config import FilesConfig as FilesConfig
from stack.services.files.inbox import Inbox as Inbox
from stack.services.files.inbox import Place as Place
from stack.services.files.messages import Offer as Offer
from stack.services.files.messages import Outcome as Outcome
from stack.services.files.policy import Accepts as Accepts
from stack.services.files.service import FilesService as FilesService
from stack.services.files.source import Prepared as Prepared
from stack.services.files.state import FileEvent as FileEvent
from stack.services.files.state import Progress as Progress
from stack.services.files.state import Received as Received
from stack.services.files.steps import InState as InState
from stack.services.files.steps import OutState as OutState
