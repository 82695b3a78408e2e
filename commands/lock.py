"""`make lock`: record the digest of everything in versions.yml that has none yet, from its publisher."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils import fetch, oci, versions


def main() -> int:
    """Resolve what is unpinned, writing after each; 1 when something could not be had, named on stderr."""
    parser = argparse.ArgumentParser(description="Record digests in the lock file.")
    parser.add_argument("lock", type=Path, help="versions.yml")
    path: Path = parser.parse_args().lock
    failed = False
    for entry in versions.load(path.read_text()).unpinned():
        try:
            with tempfile.TemporaryDirectory() as scratch:
                sha256 = fetch.published_sha256(entry, fetch.download(entry, Path(scratch)))
        except (fetch.FetchError, oci.OciError) as error:
            print(f"{entry.kind} {entry.name} {entry.version}: {error}", file=sys.stderr)
            failed = True
            continue
        path.write_text(versions.record(path.read_text(), entry, sha256))
        print(f"{entry.kind} {entry.name} {entry.version}: sha256:{sha256}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
