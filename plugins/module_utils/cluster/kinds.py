"""The kinds of objects a site is made of, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind: ``api`` is its apiVersion, ``plural`` its resource name."""

    name: str
    api: str
    plural: str

    @property
    def definition(self) -> str:
        """The name of its custom resource definition (meaningless for built-in kinds)."""
        return f"{self.plural}.{self.api.partition('/')[0]}"

    def path(self, namespace: str, name: str = "") -> str:
        """URL path of the collection in NAMESPACE, or of one object in it."""
        root = "/apis" if "/" in self.api else "/api"
        return f"{root}/{self.api}/namespaces/{quote(namespace)}/{self.plural}" + (f"/{quote(name)}" if name else "")


SECRET = Kind("Secret", "v1", "secrets")
CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
MCP_BRIDGE = Kind("McpBridge", "networking.higress.io/v1", "mcpbridges")
WASM_PLUGIN = Kind("WasmPlugin", "extensions.higress.io/v1alpha1", "wasmplugins")
INGRESS = Kind("Ingress", "networking.k8s.io/v1", "ingresses")
ENVOY_FILTER = Kind("EnvoyFilter", "networking.istio.io/v1alpha3", "envoyfilters")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")

# What policy is made of; the lease is only the lock on a site.
KINDS = (SECRET, CONFIG_MAP, MCP_BRIDGE, WASM_PLUGIN, INGRESS, ENVOY_FILTER)
_BY_NAME = {kind.name: kind for kind in (*KINDS, LEASE)}


def kind_of(item: Object) -> Kind:
    """The kind of an object; ValueError for one that this collection never makes."""
    try:
        return _BY_NAME[str(item["kind"])]
    except KeyError:
        raise ValueError(f"no site holds objects of kind {item.get('kind')!r}") from None


def name_of(item: Object) -> str:
    """``Kind/name``, as messages and plans name an object."""
    return f"{item['kind']}/{item['metadata']['name']}"
