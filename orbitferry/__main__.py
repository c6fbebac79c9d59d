"""``python -m orbitferry``: the command."""

from __future__ import annotations

import sys

from stack.cli.main import main

sys.exit(main())
