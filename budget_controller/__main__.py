"""``python -m budget_controller``, and the zipapp's start."""

import sys

from .cli import main

sys.exit(main())
