"""``python -m torture``; see `torture.cli`."""

import sys

from .cli import main

sys.exit(main())
