"""``python -m budget_controller.bundle FILE``: this package and what it imports as one zipapp for a stock Python image.

Taken from the running environment, whose versions are pinned; the same input gives the same bytes, so that a second
play changes nothing. Must stay below LIMIT, which is what a Kubernetes ConfigMap can hold.
"""

from __future__ import annotations

import io
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

LIMIT = 1 << 20
#: What the package imports besides Python's own library.
REQUIRED = ("redis", "urllib3")
_MAIN = "import sys\nfrom budget_controller.cli import main\nsys.exit(main())\n"
# redis's asynchronous client, imported and never used here, wants this package before Python 3.11.3.
_ASYNC_TIMEOUT = 'from asyncio import timeout\n\n__all__ = ["timeout"]\n'
_DATE = (1980, 1, 1, 0, 0, 0)


def bundle() -> bytes:
    """The zipapp; raises ValueError when it would be too large."""
    out = io.BytesIO()
    out.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(out, "w") as archive:
        _put(archive, "__main__.py", _MAIN.encode())
        _put(archive, "async_timeout.py", _ASYNC_TIMEOUT.encode())
        for package, root in (
            ("budget_controller", Path(__file__).parent),
            *((name, _root(name)) for name in REQUIRED),
        ):
            for path in sorted(root.rglob("*.py")):
                _put(archive, f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes())
    data = out.getvalue()
    if len(data) > LIMIT:
        raise ValueError(f"the zipapp has {len(data)} bytes, and a ConfigMap holds at most {LIMIT}")
    return data


def _root(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{package} is not installed here")
    return Path(spec.origin).parent


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data, compresslevel=9)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(bundle())
