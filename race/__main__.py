"""``python -m race``; see `race.cli`."""

import sys

from .cli import main

sys.exit(main())
