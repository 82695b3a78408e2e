"""A small client for the few verbs that are needed, over the kubernetes package's connection pool and credentials.

The generated API classes build and parse a typed object per call; at a thousand tenants that costs more than the
API server does. So bodies are bytes here, and one pool keeps connections for all threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urlsplit

import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from kubernetes.utils.retry import Backoff, on_error

from .errors import (
    BusyError,
    ClusterError,
    Conflict,
    ConflictsError,
    ForbiddenError,
    InvalidError,
    MissingKindsError,
    UnauthorizedError,
    UnreachableError,
)
from .kinds import KINDS, Kind, Object, kind_of, name_of
from .ownership import FIELD_MANAGER

CONNECTIONS = 24
# The kubernetes package works out credentials (and reads the environment's proxies) anew for every request, at a third
# of a request's cost here. A token that is renewed is taken over within this time, long before the old one ends.
_CREDENTIALS_SECONDS = 10.0
_JSON = "application/json"
_OURS = {"fieldManager": FIELD_MANAGER}
# An apply refuses a field that the schema does not have whatever is said here. With "Strict" the server parses the
# body a second time in search of doubled fields, which a dict cannot have: a fifth of its work for a request.
_VALIDATION = "Ignore"
_RETRIED = (429, 502, 503, 504)
# An apply with an unknown field is answered with 500 (seen in 1.34), not with 422.
_BAD_SCHEMA = "failed to create typed patch object"
# Answers to writes are not read, so the API server need not send the object back.
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Connection:
    """Which API server, and how patient to be.

    ``timeout`` is in seconds for one answer, ``attempts`` how often a request is sent before giving up; waits
    between attempts double from 0.3 s, and a Retry-After of the server is honoured.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    timeout: float = 30.0
    attempts: int = 6


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content: str = ""
    accept: str = "application/json"


class _AgainError(BusyError):
    """The object changed while the server applied to it, or the server stumbled: it asks to be tried again."""


class Client:
    """Lists, applies and deletes objects of one namespace; safe to use from several threads."""

    def __init__(self, api: client.ApiClient, namespace: str, *, timeout: float, attempts: int) -> None:
        self._api = api
        host = str(api.configuration.host)
        # The pool itself: the manager in front of it looks it up anew for every request, at a fifth of its cost here.
        self._pool = api.rest_client.pool_manager.connection_from_url(host)
        self._root = urlsplit(host).path.rstrip("/")
        self._timeout = urllib3.Timeout(connect=min(timeout, 10.0), read=timeout)
        self._attempts = attempts
        self._credentials: tuple[float, dict[str, str]] = (float("-inf"), {})
        self.namespace = namespace
        self.host = host

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._api.close()

    def find(self, kind: Kind, selector: str = "", name: str = "") -> list[Object]:
        """All objects of KIND that match the label SELECTOR (and NAME), each with its kind and apiVersion filled in."""
        path = kind.path(self.namespace)
        fields = f"metadata.name={name}" if name else ""
        query = {"labelSelector": selector, "fieldSelector": fields}
        request = _Request("GET", path, {key: value for key, value in query.items() if value})
        answer = self._call(request, f"{kind.name} objects", none_for=(404,))
        if answer is None:
            raise MissingKindsError(missing_kinds((kind,)))
        found: list[Object] = json.loads(answer)["items"]
        for item in found:
            item.setdefault("apiVersion", kind.api)
            item.setdefault("kind", kind.name)
        return found

    def get(self, kind: Kind, name: str) -> Object | None:
        """One object, None where there is none."""
        answer = self._call(_Request("GET", kind.path(self.namespace, name)), f"{kind.name}/{name}", none_for=(404,))
        return _object(answer)

    def apply(self, item: Object, *, force: bool = False) -> None:
        """Server-side apply with our own field manager; ConflictsError where another manager owns a field of ours."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": _VALIDATION, "force": str(force).lower()}
        self._patch(item, query, item, "application/apply-patch+yaml")

    def remove_fields(self, item: Object, paths: list[tuple[str, ...]]) -> None:
        """Remove fields that others added to one of our objects (a merge patch of nulls)."""
        patch: Object = {}
        for path in paths:
            place = patch
            for part in path[:-1]:
                place = place.setdefault(part, {})
            place[path[-1]] = None
        self._patch(item, _OURS, patch, "application/merge-patch+json")

    def delete(self, item: Object) -> None:
        """Delete exactly the object that was read (its uid); one that is gone already is no error."""
        uid = item.get("metadata", {}).get("uid")
        options = {"preconditions": {"uid": uid}} if uid else {}
        path = kind_of(item).path(self.namespace, item["metadata"]["name"])
        # 409: an object of the same name but not the one we planned to delete; it is not ours to remove.
        self._call(_Request("DELETE", path, body=options, content=_JSON), name_of(item), none_for=(404, 409))

    def create(self, item: Object) -> Object | None:
        """A new object as stored; None when one of that name exists."""
        path = kind_of(item).path(self.namespace)
        answer = self._call(_Request("POST", path, _OURS, item, _JSON), name_of(item), none_for=(409,))
        return _object(answer)

    def replace(self, item: Object) -> Object | None:
        """The object replaced at exactly its resourceVersion; None when it has changed since or is gone."""
        path = kind_of(item).path(self.namespace, item["metadata"]["name"])
        answer = self._call(_Request("PUT", path, _OURS, item, _JSON), name_of(item), none_for=(404, 409))
        return _object(answer)

    def _patch(self, item: Object, query: Mapping[str, str], body: Object, content: str) -> None:
        path = kind_of(item).path(self.namespace, item["metadata"]["name"])
        self._call(_Request("PATCH", path, query, body, content, _METADATA_ONLY), name_of(item))

    def _call(self, request: _Request, what: str, *, none_for: tuple[int, ...] = ()) -> bytes | None:
        """The answer's text, tried again where the server asks for it; None for the statuses NONE_FOR."""

        def once() -> bytes | None:
            status, body = self._send(request)
            if status in none_for:
                return None
            if 200 <= status < 300:
                return body
            raise _failure(status, _status(body), what, self.host)

        backoff = Backoff(steps=self._attempts, duration=0.1, factor=2.0, jitter=0.2)
        answer: bytes | None = on_error(backoff, lambda error: isinstance(error, _AgainError), once)
        return answer

    def _send(self, request: _Request) -> tuple[int, bytes]:
        headers = {"Accept": request.accept, "User-Agent": FIELD_MANAGER, **self._authentication()}
        if request.content:
            headers["Content-Type"] = request.content
        url = f"{self._root}{request.path}" + (f"?{urlencode(request.query)}" if request.query else "")
        data = None if request.body is None else json.dumps(request.body, separators=(",", ":")).encode()
        try:
            answer = self._pool.request(request.method, url, body=data, headers=headers, timeout=self._timeout)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"{self.host}: {_network_reason(error, self._timeout)}") from error
        return int(answer.status), answer.data

    def _authentication(self) -> dict[str, str]:
        """Headers with the kubeconfig's credentials. Two threads that find them old both renew them: no harm."""
        at, headers = self._credentials
        if time.monotonic() - at > _CREDENTIALS_SECONDS:
            headers = {}
            self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
            self._credentials = time.monotonic(), headers
        return headers


def connect(connection: Connection, namespace: str) -> Client:
    """A client for NAMESPACE; nothing is sent yet."""
    settings = client.Configuration()
    settings.retries = urllib3.Retry(
        total=connection.attempts - 1,
        # A request that got no answer in time is sent once more: what hangs twice hangs on.
        read=min(1, connection.attempts - 1),
        status_forcelist=_RETRIED,
        allowed_methods=None,  # every verb used here may be repeated
        backoff_factor=0.15,
        backoff_jitter=0.1,
        raise_on_status=False,
    )
    settings.connection_pool_maxsize = CONNECTIONS
    try:
        config.load_kube_config(
            config_file=str(connection.kubeconfig) if connection.kubeconfig else None,
            context=connection.context,
            client_configuration=settings,
            persist_config=False,
        )
    except (ConfigException, OSError) as error:
        raise ClusterError(f"the kubeconfig {connection.kubeconfig or '(default)'} cannot be used: {error}") from error
    api = client.ApiClient(settings)
    return Client(api, namespace, timeout=connection.timeout, attempts=connection.attempts)


def missing_kinds(kinds: Sequence[Kind]) -> str:
    """The message for KINDS whose definitions the API server does not have."""
    names = ", ".join(kind.definition for kind in kinds)
    return f"the API server does not know {names}: install Higress's chart (with its CRDs) first"


def _object(answer: bytes | None) -> Object | None:
    return None if answer is None else dict(json.loads(answer))


def _status(body: bytes) -> Object:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _failure(status: int, answer: Object, what: str, host: str) -> ClusterError:
    message = str(answer.get("message", "")) or f"HTTP {status}"
    if what.startswith("Secret/") and status in (400, 422):
        message = f"{answer.get('reason', 'refused')} (details are not shown: it is a Secret)"
    if status == 409:
        found = [
            Conflict(what, str(cause.get("field", "")).lstrip("."), _manager(str(cause.get("message", ""))))
            for cause in answer.get("details", {}).get("causes", [])
            if cause.get("reason") == "FieldManagerConflict"
        ]
        return ConflictsError(found) if found else _AgainError(f"{what}: {message}")
    kinds: dict[int, type[ClusterError]] = {
        401: UnauthorizedError,
        403: ForbiddenError,
        400: InvalidError,
        413: InvalidError,
        422: InvalidError,
    }
    if status in kinds:
        return kinds[status](f"{what}: {message}" if status != 401 else f"{host} does not accept the credentials")
    if status == 404:
        unknown = tuple(kind for kind in KINDS if what.startswith(kind.name + "/"))
        return (
            MissingKindsError(missing_kinds(unknown))
            if "could not find" in message
            else ClusterError(f"{what}: {message}")
        )
    if status == 500 and _BAD_SCHEMA in message:
        return InvalidError(f"{what}: {message}")
    again = _AgainError if status == 500 else BusyError
    return again(f"{what}: the API server went on answering {status}: {message}")


def _manager(message: str) -> str:
    """The name in ``conflict with "kubectl-edit" using v1``."""
    return message.partition('"')[2].partition('"')[0]


def _network_reason(error: urllib3.exceptions.HTTPError, timeout: urllib3.Timeout) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.SSLError):
        return f"its certificate is not trusted ({reason})"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return "the connection was refused; is the API server running, is the kubeconfig's address right?"
    if isinstance(reason, urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout.read_timeout:g} s"
    return f"the connection was lost ({type(reason).__name__})"
