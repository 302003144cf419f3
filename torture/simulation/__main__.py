"""``python -m torture.simulation``; see :mod:`.command`."""

import sys

from .command import main

sys.exit(main())
