"""Small formal models of what must never go wrong, and a check of all their states.

    checker    every state that can be reached, breadth first: what must never be, and what must
               always stay possible
    custody    "acknowledge after durable": a bundle handed from node to node over a lossy link
    closure    an LTP session (RFC 5326): both engines close it, and the block arrives once

`python -m interop.models` explores them and says how far; the tests take the traces that come out
and run them on the real engines.
"""

from __future__ import annotations

from interop.models.checker import Explored as Explored
from interop.models.checker import Model as Model
from interop.models.checker import explore as explore
from interop.models.checker import walks as walks
