"""Kubernetes objects for tests, written short."""

from __future__ import annotations

from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled, compile_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports, Settings

HIGRESS = "higress-system"

REGISTRIES = (
    {"name": "llm-a", "type": "dns", "domain": "llm-a.example", "port": 443, "protocol": "https"},
    {"name": "llm-a2", "type": "dns", "domain": "llm-a.example", "port": 443, "protocol": "https"},
    {
        "name": "llm-a-sni",
        "type": "dns",
        "domain": "llm-a.example",
        "port": 443,
        "protocol": "https",
        "sni": "other-sni.example",
    },
    {"name": "llm-two", "type": "dns", "domain": "one.example,two.example", "port": 443, "protocol": "https"},
    {"name": "llm-b", "type": "dns", "domain": "llm-b.example", "port": 8080, "protocol": "http"},
    {"name": "llm-c", "type": "static", "domain": "127.0.0.2:9000,127.0.0.3:9001", "port": 80, "protocol": "http"},
    {
        "name": "llm-d",
        "type": "static",
        "domain": "127.0.0.4:9443",
        "port": 443,
        "protocol": "https",
        "sni": "llm-d.example",
    },
)
_BACKEND = {"resource": {"apiGroup": "networking.higress.io", "kind": "McpBridge", "name": "default"}}


def bridge(*registries: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "McpBridge",
        "metadata": {"namespace": HIGRESS, "name": "default"},
        "spec": {"registries": list(registries or REGISTRIES)},
    }


def ingress(name: str, host: str, *paths: dict[str, str], **annotations: str) -> dict[str, Any]:
    """`name` may be `namespace/name`; annotation names are given with _ for -."""
    namespace, _, own = name.rpartition("/")
    return {
        "kind": "Ingress",
        "metadata": {
            "namespace": namespace or HIGRESS,
            "name": own,
            "annotations": {f"higress.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
        },
        "spec": {
            "ingressClassName": "higress",
            "rules": [
                {
                    **({} if host == "*" else {"host": host}),
                    "http": {
                        "paths": [
                            {"path": p["path"], "pathType": p.get("type", "Prefix"), "backend": _BACKEND} for p in paths
                        ]
                    },
                }
            ],
        },
    }


def simple(name: str = "p1", host: str = "p1.tenant.test", path: str = "/", **annotations: str) -> dict[str, Any]:
    return ingress(name, host, {"path": path}, **{"destination": "llm-a.dns:443", **annotations})


def plugin(name: str, program: str = "identity", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "WasmPlugin",
        "metadata": {"namespace": HIGRESS, "name": name},
        "spec": {"url": f"oci://registry.example/plugins/{program}:1.0.0", **spec},
    }


def settings() -> Settings:
    programs = ("identity", "ai-proxy", "ai-statistics", "ai-data-masking", "route-names")
    return Settings(
        ports=Ports.from_base(20000),
        config_dir="/sandbox/envoy",
        log_dir="/sandbox/log",
        programs={name: f"/sandbox/wasm/{name}.wasm" for name in programs},
        endpoints={},
    )


def compiled(*objects: dict[str, Any]) -> Compiled:
    return compile_objects(objects, settings())
