"""The ledger in Redis: what is kept under which key, and the one way to change it.

    budget:token            changes with every write: a write names the token it has seen, else it is refused
    budget:head             JSON, see Head
    budget:page:<consumer>  the consumer's page (ledger.Page)
    budget:left:<consumer>  the balance as the controller last left it
    budget:pool:<scope>     hash: r:<price> reserved tokens at that price, s:<period> booked pico-dollars,
                            m:<month>:<model> booked by model, t:<zone>
    budget:open             set of consumers to look at again though nothing moved
    budget:prints           hash group -> fingerprint of what its leases depend on
    budget:members:<group>  set of consumers as of that fingerprint
    budget:alerts           hash alert id -> JSON, written once per period
    chat_quota:<consumer>   the gateway's balance: moved only by differences
    chat_hold:<consumer>    tokens that a later gateway has pre-debited and will settle

Every write is one Lua script (atomic, also in the replication stream). It first compares the token, so writes form a
chain: after a fail-over that lost writes, or beside another controller, the chain does not fit and nothing is written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import redis

from .errors import StoreError, Superseded

CHUNK = 1000
_MAX_INT = 2**63 - 1

# Many values travel as one text, one a line: a packed list costs redis-py a microsecond or two a value.
_COMMIT = r"""
if (redis.call('GET', 'budget:token') or '') ~= ARGV[1] then return redis.error_reply('SUPERSEDED') end
local quota, take = ARGV[4], ARGV[5]:gmatch('([^\n]*)\n')
redis.call('SET', 'budget:token', ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', 'budget:head', ARGV[3]) end
for _ = 1, tonumber(take()) do
  local consumer, page, left = take(), take(), take()
  redis.call('SET', 'budget:page:' .. consumer, page)
  if left ~= '' then redis.call('SET', 'budget:left:' .. consumer, left) end
end
local targets = {}
for t = 1, tonumber(take()) do targets[t] = {moved = 0, field = take(), take(), take(), take()} end
local moves = {}
for m = 1, tonumber(take()) do
  local consumer, delta, target = take(), tonumber(take()), targets[tonumber(take())]
  local key = quota .. consumer
  local value = redis.pcall('GET', key)
  local balance = type(value) == 'string' and value:match('^-?%d+$') and tonumber(value)
  if not balance then redis.call('DEL', key); balance = 0 end
  if delta < 0 then
    delta = -math.min(-delta, math.max(0, balance))
    target.moved = target.moved + delta
  else
    local usable = tonumber(take())
    target.moved = target.moved + usable
  end
  if delta ~= 0 then
    redis.call('INCRBY', key, string.format('%d', delta))
    redis.call('INCRBY', 'budget:left:' .. consumer, string.format('%d', delta))
  end
  moves[m] = string.format('%d', delta)
end
for _, t in ipairs(targets) do
  if t.moved ~= 0 then
    for s = 1, 3 do redis.call('HINCRBY', 'budget:pool:' .. t[s], t.field, string.format('%d', t.moved)) end
  end
end
for _ = 1, tonumber(take()) do redis.call('HINCRBY', 'budget:pool:' .. take(), take(), take()) end
for _ = 1, tonumber(take()) do redis.call('HSET', take(), take(), take()) end
for _ = 1, tonumber(take()) do redis.call('HSETNX', 'budget:alerts', take(), take()) end
for _ = 1, tonumber(take()) do redis.call('SADD', take(), take()) end
for _ = 1, tonumber(take()) do redis.call('SREM', take(), take()) end
for _ = 1, tonumber(take()) do redis.call('UNLINK', take()) end
return table.concat(moves, '\n')
"""

_ROWS = r"""
local keys, found = {}, {}
for name in ARGV[2]:gmatch('([^\n]*)\n') do
  for _, kind in ipairs({'budget:page:', 'budget:left:', ARGV[1], 'chat_hold:'}) do keys[#keys + 1] = kind .. name end
end
for i, value in ipairs(redis.call('MGET', unpack(keys))) do
  found[i] = value and (i % 4 == 1 or value:match('^-?%d+$')) and value or ''
end
return table.concat(found, '\n')
"""


@dataclass(slots=True)
class GatewayProcess:
    """A gateway process as its uptime tells it. ``lives``: [since ms, id]; the id names its series on pages, and a
    restart, after which counters begin at zero, gives a new one. ``seen`` is the last sample's time in ms.
    """

    lives: list[list[int]]
    started: int = 0
    uptime: int = 0
    seen: int = 0


@dataclass(slots=True)
class Head:
    """What the ledger knows about itself. Times are seconds.

    ``processes`` by name; ``dry``: pools that could not give every member a lease; ``scan``: where the next search for
    moved balances begins; ``unpriced``: model -> [when it was last used without a price, tokens]; ``last``: the summary
    of the last finished tick.
    """

    cursor: int
    rebuilding: bool = False
    next_process: int = 1
    processes: dict[str, GatewayProcess] = field(default_factory=dict)
    dry: list[str] = field(default_factory=list)
    scan: int = 0
    unpriced: dict[str, list[int]] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)


class Row(NamedTuple):
    """What is stored of one consumer; None is what is not there. A balance that is no integer counts as absent."""

    consumer: str
    page: str | None
    left: int | None
    balance: int | None
    held: int


@dataclass(frozen=True, slots=True)
class Move:
    """A wanted change of a balance by ``delta`` tokens; ``usable`` of them become a lease, the rest pays a debt."""

    consumer: str
    delta: int
    usable: int
    target: int


@dataclass(slots=True)
class Batch:
    """One atomic change of the ledger. ``targets``: (field, three scopes) that moves are added up under; ``drops``:
    keys to forget.
    """

    pages: list[tuple[str, str, int | None]] = field(default_factory=list)
    targets: list[tuple[str, tuple[str, str, str]]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    adds: dict[tuple[str, str], int] = field(default_factory=dict)
    fields: list[tuple[str, str, str]] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    members: list[tuple[str, str]] = field(default_factory=list)
    leavers: list[tuple[str, str]] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    head: Head | None = None

    def add(self, scope: str, name: str, amount: int) -> None:
        """Add to a field of a pool."""
        key = (scope, name)
        self.adds[key] = self.adds.get(key, 0) + amount


def head_to(head: Head) -> dict[str, Any]:
    """A head as JSON."""
    return asdict(head)


def head_from(document: dict[str, Any]) -> Head:
    """A stored head; raises TypeError for another version's."""
    head = Head(**document)
    head.processes = {name: GatewayProcess(**cast("Any", p)) for name, p in head.processes.items()}
    return head


def new_token() -> str:
    """A token nobody else has: a fail-over may bring an old number back, but never this text."""
    return secrets.token_hex(8)


class Store:
    """The ledger. Methods raise StoreError when Redis is away, Superseded when another writer was there."""

    def __init__(self, client: redis.Redis, quota_prefix: str, tokens: Callable[[], str] = new_token) -> None:
        """``client`` must not decode responses."""
        self._redis = client
        self._quota = quota_prefix
        self._tokens = tokens
        self._commit = client.register_script(_COMMIT)
        self._rows = client.register_script(_ROWS)
        self._token = ""

    @classmethod
    def connect(cls, url: str, quota_prefix: str, *, password: str | None = None) -> Store:
        """Open the store at a ``redis://`` or ``rediss://`` URL; a password beside it need not be escaped."""
        secret = {} if password is None else {"password": password}
        try:
            client = redis.Redis.from_url(url, socket_timeout=60, socket_connect_timeout=5, **secret)
        except ValueError as error:
            raise StoreError(f"the Redis URL is not usable: {error}") from None
        return cls(client, quota_prefix)

    @property
    def token(self) -> str:
        """Names the state of the ledger that was last seen or written."""
        return self._token

    def open_ledger(self) -> Head | None:
        """The head, and remember the token: from here on this store writes only if nobody else did."""
        token, head = self._call(self._redis.mget, "budget:token", "budget:head")
        self._token = "" if token is None else token.decode()
        if head is None:
            return None
        try:
            return head_from(json.loads(head))
        except (ValueError, TypeError) as error:
            raise StoreError(f"budget:head is not what this version writes: {error}") from error

    def rows(self, consumers: Sequence[str]) -> list[Row]:
        """What is stored of these consumers, in their order; each row is read at one moment."""
        found: list[Row] = []
        for start in range(0, len(consumers), CHUNK):
            names = consumers[start : start + CHUNK]
            values = self._call(self._rows, args=(self._quota, _lines(names))).decode().split("\n")
            found += [
                Row(name, page or None, _int(left), _int(balance), max(0, _int(held) or 0))
                for name, page, left, balance, held in zip(
                    names, values[::4], values[1::4], values[2::4], values[3::4], strict=True
                )
            ]
        return found

    def moved(self, consumers: Sequence[str]) -> list[str]:
        """Those whose balance is not where the controller left it."""
        found: list[str] = []
        for start in range(0, len(consumers), CHUNK):
            names = consumers[start : start + CHUNK]
            left = self._call(self._redis.mget, [f"budget:left:{name}" for name in names])
            now = self._call(self._redis.mget, [self._quota + name for name in names])
            found += [name for name, a, b in zip(names, left, now, strict=True) if a != b]
        return found

    def open_consumers(self) -> set[str]:
        """Consumers to look at again."""
        return {name.decode() for name in self._call(self._redis.smembers, "budget:open")}

    def members(self, group: str) -> set[str]:
        """Consumers that the group had when its fingerprint was written."""
        return {name.decode() for name in self._call(self._redis.smembers, f"budget:members:{group}")}

    def prints(self) -> dict[str, str]:
        """Fingerprints by group."""
        stored = self._call(self._redis.hgetall, "budget:prints")
        return {key.decode(): value.decode() for key, value in stored.items()}

    def pools(self, scopes: Iterable[str]) -> dict[str, dict[str, int]]:
        """Fields of each pool."""
        names = list(scopes)
        found: dict[str, dict[str, int]] = {}
        for start in range(0, len(names), CHUNK):
            pipe = self._redis.pipeline(transaction=False)
            part = names[start : start + CHUNK]
            for name in part:
                pipe.hgetall(f"budget:pool:{name}")
            for name, fields in zip(part, self._call(pipe.execute), strict=True):
                found[name] = {key.decode(): int(value) for key, value in fields.items()}
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Alerts of the current and earlier periods, by id."""
        stored = self._call(self._redis.hgetall, "budget:alerts")
        return {key.decode(): json.loads(value) for key, value in stored.items()}

    def note_run(self, milliseconds: int) -> None:
        """Keep how long the last run took."""
        self._call(self._redis.set, "budget:milliseconds", milliseconds)

    def run_milliseconds(self) -> int:
        """How long the last run took."""
        return _int(self._call(self._redis.get, "budget:milliseconds")) or 0

    def mark_alert(self, alert: str, document: Mapping[str, Any]) -> None:
        """Note that an alert was delivered."""
        self._call(self._redis.hset, "budget:alerts", alert, json.dumps(document))

    def commit(self, batch: Batch) -> list[int]:
        """Write the batch; returns by how much each move really changed its balance. All or nothing."""
        adds = [(scope, name, amount) for (scope, name), amount in batch.adds.items() if amount]
        if any(abs(amount) > _MAX_INT // 2 for _, _, amount in adds):
            raise StoreError("an amount is larger than the ledger can count")
        values: list[object] = [len(batch.pages)]
        for consumer, page, left in batch.pages:
            values += (consumer, page, "" if left is None else left)
        values.append(len(batch.targets))
        for name, scopes in batch.targets:
            values += (name, *scopes)
        values.append(len(batch.moves))
        for move in batch.moves:
            values += (move.consumer, move.delta, move.target + 1)
            if move.delta >= 0:
                values.append(move.usable)
        for rows in (adds, batch.fields, batch.alerts, batch.members, batch.leavers):
            values.append(len(rows))
            for row in cast("Sequence[tuple[object, ...]]", rows):
                values += row
        values += (len(batch.drops), *batch.drops)
        token, head = self._tokens(), "" if batch.head is None else json.dumps(head_to(batch.head))
        moved = self._call(self._commit, args=(self._token, token, head, self._quota, _lines(values)))
        self._token = token
        return [int(delta) for delta in moved.split()]

    def start_over(self, head: Head) -> None:
        """Forget the ledger, not the balances; only ``rebuild`` and ``import`` do this, and end by storing HEAD as not
        rebuilding any more. HEAD goes first: what a crash leaves is known to be no ledger, and as every write here
        names the one before, two controllers cannot clear away each other's work.
        """
        head.rebuilding = True
        self.commit(Batch(head=head, drops=["budget:open", "budget:prints"]))
        for kind in ("page", "left", "pool", "members"):
            names = self._scan(kind)
            for start in range(0, len(names), CHUNK):
                self.commit(Batch(drops=[f"budget:{kind}:{name}" for name in names[start : start + CHUNK]]))

    def scan_consumers(self) -> list[str]:
        """Every consumer that has a page."""
        return self._scan("page")

    def scan_scopes(self) -> list[str]:
        """Every scope that has a pool."""
        return self._scan("pool")

    def _scan(self, kind: str) -> list[str]:
        prefix = f"budget:{kind}:"

        def keys() -> list[str]:
            return [key.decode()[len(prefix) :] for key in self._redis.scan_iter(prefix + "*", count=5000)]

        return cast("list[str]", self._call(keys))

    def _call(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return work(*args, **options)
        except redis.exceptions.ResponseError as error:
            if "SUPERSEDED" in str(error):
                raise Superseded("another controller has written meanwhile; its run stands, this one stops") from None
            raise StoreError(f"Redis refuses: {error}") from error
        except redis.exceptions.RedisError as error:
            raise StoreError(f"Redis cannot be reached: {error}") from error


def _int(value: str | bytes | None) -> int | None:
    try:
        return int(value) if value else None
    except ValueError:
        return None


def _lines(values: Iterable[object]) -> str:
    """One value a line. Raises StoreError when one has a line break of its own: scripts would read two."""
    texts = [str(value) for value in values]
    joined = "\n".join(texts) + "\n" if texts else ""
    if joined.count("\n") != len(texts):
        broken = next(text for text in texts if "\n" in text)
        raise StoreError(f"a line break in {broken!r}")
    return joined
