"""The whole ledger as one JSON Lines file and back: for moving Redis, and for backups.

First line: ``{"ledger": 1, "site", "head"}``; then one line per pool and per consumer. Balances are not part of it: an
imported ledger leases anew in the next run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from .errors import ControllerError
from .ledger import Page
from .store import CHUNK, Batch, Store, head_from, head_to

FORMAT = 1


def export(store: Store, site: str, progress: Callable[[str, int, int], None] = lambda *_: None) -> Iterator[str]:
    """Lines of the file, each with its newline. Raises ControllerError when a run changed the ledger meanwhile."""
    head = store.open_ledger()
    if head is None:
        raise ControllerError("there is no ledger to export; `run` or `rebuild` makes one")
    token = store.token
    yield json.dumps({"ledger": FORMAT, "site": site, "head": head_to(head)}) + "\n"
    scopes = sorted(store.scan_scopes())
    for scope, fields in store.pools(scopes).items():
        # What was reserved belongs to balances, which stay behind.
        yield json.dumps({"pool": scope, "fields": {k: v for k, v in fields.items() if k[:2] != "r:"}}) + "\n"
    names = sorted(store.scan_consumers())
    for start in range(0, len(names), CHUNK):
        for row in store.rows(names[start : start + CHUNK]):
            if row.page is not None:
                yield json.dumps({"consumer": row.consumer, "page": json.loads(row.page)}) + "\n"
        progress("export", min(len(names), start + CHUNK), len(names))
    store.open_ledger()
    if store.token != token:
        raise ControllerError("a run changed the ledger during the export; export again")


def import_(store: Store, lines: Iterable[str], site: str) -> int:
    """Replace the ledger by the file's; returns how many consumers it has. Raises ControllerError for other files.

    The file is read to its end before anything is written.
    """
    try:
        documents = [json.loads(line) for line in lines if line.strip()]
        first, rest = documents[0], documents[1:]
        if first["ledger"] != FORMAT or first["site"] != site:
            raise ControllerError(
                f"the file is of site {first['site']!r}, format {first['ledger']}; this is {site!r}, {FORMAT}"
            )
        head = head_from(first["head"])
        pools = {d["pool"]: {k: int(v) for k, v in d["fields"].items()} for d in rest if "pool" in d}
        pages = {d["consumer"]: Page.load(json.dumps(d["page"])) for d in rest if "consumer" in d}
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ControllerError(f"this is not an exported ledger: {error!r}") from error
    store.start_over(head)
    for scope, fields in pools.items():
        store.commit(Batch(adds={(scope, name): amount for name, amount in fields.items()}))
    names = sorted(pages)
    for start in range(0, len(names), CHUNK):
        batch = Batch()
        for name in names[start : start + CHUNK]:
            page = pages[name]
            page.held = 0
            for scope in page.path.scopes():
                batch.add(scope, f"r:{page.worst}", page.reserved(0))
            if page.open:
                batch.members.append(("budget:open", name))
            batch.pages.append((name, page.dump(), None))
        store.commit(batch)
    head.rebuilding = False
    store.commit(Batch(head=head))
    return len(pages)
