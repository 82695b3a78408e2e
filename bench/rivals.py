"""What a user would pick instead: LiteLLM's proxy and Portkey's gateway, each in the cheapest way it runs.

LiteLLM without its database knows one key and no budgets; Portkey's gateway knows no keys of its own at all. Their
guards are Portkey's own `default.regexMatch` and `default.regexReplace`, which read a chat's last message only
(as its 1.15.2 is shipped), where ours read all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.prompt_guard import (
    DEFAULT_PATTERNS,
    DEFAULT_PHRASES,
)

from .tenants import ALIAS

LITELLM, PORTKEY, PORTKEY_GUARDED = "LiteLLM proxy", "Portkey gateway", "Portkey gateway with its guards"
_KEY = "sk-bench"
# Much like what the measured Projects mask.
_MASKED = {
    "[e-mail]": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
    "[phone]": r"\b0\d{1,2}[- ]?\d{3}[- ]?\d{3,4}\b",
    "[address]": r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
    "[key]": r"\bsk-[A-Za-z0-9]{16,}\b",
}


@dataclass(frozen=True, slots=True)
class Rival:
    """A program to start, and the subjects measured on it: name -> request headers."""

    name: str
    command: Sequence[str]
    port: int
    subjects: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str] = field(default_factory=dict)


def litellm(program: Path, config: Path, port: int, provider: tuple[str, int], workers: int) -> Rival:
    """LiteLLM's proxy with as many workers as the gateway; writes its configuration to `config`.

    Under gunicorn: uvicorn's own supervisor ends workers that take more than 5 s to start, as these may.
    """
    parameters = {"model": "openai/mock-large", "api_base": _base(provider), "api_key": "none"}
    content = {
        "model_list": [{"model_name": ALIAS, "litellm_params": parameters}],
        "general_settings": {"master_key": _KEY},
    }
    config.write_text(json.dumps(content), "utf-8")
    command = [
        str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", str(workers), "--run_gunicorn",
    ]  # fmt: skip
    # Its price list from its own package; it would fetch a newer one otherwise.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return Rival("litellm", command, port, {LITELLM: {"authorization": f"Bearer {_KEY}"}}, quiet)


def portkey(script: Path, port: int, provider: tuple[str, int]) -> Rival:
    """Portkey's gateway, one Node process, which is all it has; guarded by a configuration that the request carries."""
    target = {"provider": "openai", "api_key": "none", "custom_host": _base(provider)}
    plain = {"x-portkey-provider": "openai", "x-portkey-custom-host": _base(provider), "authorization": "Bearer none"}
    guarded = {"x-portkey-config": json.dumps({**target, "input_guardrails": _guardrails()})}
    command = ["node", str(script), f"--port={port}", "--headless"]
    return Rival("portkey", command, port, {PORTKEY: plain, PORTKEY_GUARDED: guarded}, {"NODE_ENV": "production"})


def _guardrails() -> list[Mapping[str, object]]:
    phrases = "|".join(_escaped(phrase) for phrase in DEFAULT_PHRASES)
    refused = [phrases, *DEFAULT_PATTERNS]
    matches = [{"default.regexMatch": {"rule": rule, "not": True}, "deny": True} for rule in refused]
    masks = [{"default.regexReplace": {"rule": f"/{rule}/g", "redactText": text}} for text, rule in _MASKED.items()]
    return [*matches, *masks]


def _escaped(phrase: str) -> str:
    """JavaScript's own special characters only: Python's `re.escape` escapes spaces too."""
    return "".join(f"\\{c}" if c in r"\^$.|?*+()[]{}" else c for c in phrase)


def _base(provider: tuple[str, int]) -> str:
    host, port = provider
    return f"http://{host}:{port}/v1"
