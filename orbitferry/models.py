"""Links before they exist: orbits and passes, link budgets, plans, channels, weather, emulators.

`docs/link-models.md` begins with orbits, `docs/link-channel.md` with channels.  Orbits need
`pip install 'orbitferry[sim]'`; channels and the emulator do with what a node needs.
`docs/api-models.md` has every name with its signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.models import *  # noqa: F403
else:
    from stack import models as _models

    __all__, __getattr__, __dir__ = _models.__all__, _models.__getattr__, _models.__dir__
