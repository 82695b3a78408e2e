"""``python -m dashboards DIR``: one JSON file per dashboard."""

import json
import sys
from pathlib import Path

from . import DASHBOARDS, render


def main(directory: Path) -> None:
    """Write every dashboard to ``directory``, which is made when missing."""
    directory.mkdir(parents=True, exist_ok=True)
    for dashboard in DASHBOARDS:
        text = json.dumps(render(dashboard), indent=2, sort_keys=True) + "\n"
        (directory / f"{dashboard.uid}.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
