"""Write the tables of settings.md again, from those that check the settings."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from service import settings as service  # noqa: E402
from sharedstate import settings as library  # noqa: E402
from sharedstate.session.options import TABLE as OF_SESSIONS  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"
TABLE = re.compile(r"^\| setting \|.*\n(?:\|.*\n)+", re.MULTILINE)


def main() -> None:
    tables = iter((library.table(), OF_SESSIONS, service.table()))
    PAGE.write_text(TABLE.sub(lambda _: library.markdown(next(tables)), PAGE.read_text()))


if __name__ == "__main__":
    main()
