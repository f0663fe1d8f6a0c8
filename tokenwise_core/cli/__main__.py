"""`python -m tokenwise_core.cli` is `tokenwise`."""

from __future__ import annotations

import sys

from tokenwise_core.cli import main

sys.exit(main())
