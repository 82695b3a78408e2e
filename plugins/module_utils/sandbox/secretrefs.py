"""Secret references in plugin configs: `${secret.namespace/name.key}` becomes the Secret's value.

Higress leaves a reference it cannot resolve in the text and logs an error; here it is a problem.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .problem import ProblemsOf

_REFERENCE = re.compile(r"\$\{secret\.([a-z0-9-]+)/([a-z0-9-]+)\.([^}]+)\}")

Secrets = Mapping[tuple[str, str], Mapping[str, str]]
"""(namespace, name) -> key -> value."""


def read_secrets(objects: Iterable[Mapping[str, Any]]) -> Secrets:
    """Values of all Secret objects, from `data` and `stringData` (which wins, as in the API)."""
    secrets: dict[tuple[str, str], dict[str, str]] = {}
    for obj in objects:
        metadata = obj.get("metadata") or {}
        decoded = {k: base64.b64decode(v).decode() for k, v in (obj.get("data") or {}).items()}
        key = (metadata.get("namespace", ""), metadata.get("name", ""))
        secrets[key] = {**decoded, **(obj.get("stringData") or {})}
    return secrets


def resolve(value: Any, secrets: Secrets, path: str, problems: ProblemsOf) -> Any:
    """Return `value` with every reference in its strings replaced; a missing one is a problem at its path."""
    if isinstance(value, str):
        return _resolve_text(value, secrets, path, problems) if "${secret." in value else value
    if isinstance(value, Mapping):
        return {k: resolve(v, secrets, f"{path}.{k}", problems) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(v, secrets, f"{path}[{i}]", problems) for i, v in enumerate(value)]
    return value


def _resolve_text(text: str, secrets: Secrets, path: str, problems: ProblemsOf) -> str:
    def value_of(match: re.Match[str]) -> str:
        namespace, name, key = match.groups()
        found = secrets.get((namespace, name), {}).get(key)
        if found is None:
            problems.add(path, f"no Secret {namespace}/{name} with key {key}: Higress would pass the text on as it is")
            return match.group()
        return found

    resolved = _REFERENCE.sub(value_of, text)
    if resolved == text and not _REFERENCE.search(text):
        problems.add(path, "a secret reference must read ${secret.NAMESPACE/NAME.KEY}")
    return resolved
