"""`make explain PROJECT=atlas USER=bob`: a user's effective policy on the terminal."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.explain import as_text, effective_policy
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, load_site


def main() -> int:
    """Print it; 1 with the reason when there is no such user or the specs are wrong."""
    parser = argparse.ArgumentParser(description="Say what holds for one user of a Project.")
    parser.add_argument("site", type=Path, help="directory with gateway.yml, prices.yml and projects/")
    parser.add_argument("project")
    parser.add_argument("user")
    given = parser.parse_args()
    try:
        print(as_text(effective_policy(load_site(given.site), given.project, given.user, datetime.now(UTC))))
    except (SpecError, KeyError) as error:
        print(error.args[0], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
