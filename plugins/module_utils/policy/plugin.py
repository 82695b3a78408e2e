"""What a plugin of the chain is, and how it becomes WasmPlugin objects.

Tenants share objects: each object is one more filter and VM on every request, so per-request cost must not grow
with the number of Projects. Where one object would pass MAX_BYTES the site sets a number of shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..members import Tenant
from ..spec import Project, Site
from .objects import Object, build
from .routes import route_names

Config = dict[str, Any]
# etcd refuses 1.5 MiB; the rest is room for what the API server adds.
MAX_BYTES = 1024 * 1024
# One number per shard below a plugin's own priority: Higress orders equal priorities at random.
_PRIORITIES_PER_PLUGIN = 100
# Keeps an object without any Project's rule in the chain: adding or removing a filter would cut streams.
NO_ROUTE = "no-project--entry"
# Secret with the registry's account (kubernetes.io/dockerconfigjson) beside the plugins; the role higress makes it.
PULL_SECRET = "registry-pull"  # noqa: S105 -- its name


class PolicyError(Exception):
    """The specs are right, but cannot be put into objects that the gateway takes."""


@dataclass(frozen=True)
class Rule:
    """A config for a Project's routes (unset: for all of them), or for requests to one of its providers' services."""

    config: Config
    routes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugin:
    """One link of the chain.

    ``rule``: a Project's rules. ``shared``: the config for all routes (a guard's, or tables that rules refer to);
    None: the plugin does nothing where no rule matches. ``idle``: a valid config for the rule that keeps an
    otherwise empty object in the chain.
    """

    name: str
    binary: str
    tag: str
    phase: Literal["AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE"]
    priority: int
    rules: Callable[[Site, Tenant], Iterator[Rule]]
    shared: Callable[[Site, Sequence[Tenant]], Config] | None = None
    idle: Config | None = None
    guard: bool = False


def no_rules(_site: Site, _tenant: Tenant) -> Iterator[Rule]:
    """For plugins that are the same for every Project."""
    return iter(())


def shard_of(project: str, shards: int) -> int:
    """A Project's shard; adding or removing other Projects does not move it."""
    return int.from_bytes(hashlib.sha256(project.encode()).digest()[:8], "big") % shards


def wasm_plugins(plugin: Plugin, site: Site, tenants: Sequence[Tenant]) -> Iterator[Object]:
    """PLUGIN's objects for all TENANTS of SITE: one, or one per shard. Raises PolicyError when one is too large."""
    shards = site.gateway.shards.get(plugin.name, 1)
    for shard in range(shards):
        inside = [tenant for tenant in tenants if shard_of(tenant.project.project, shards) == shard]
        name = plugin.name if shards == 1 else f"{plugin.name}-{shard}"
        spec = {
            "url": f"{site.gateway.plugin_registry}/{plugin.binary}:{plugin.tag}",
            "phase": plugin.phase,
            "priority": plugin.priority * _PRIORITIES_PER_PLUGIN - shard,
            "failStrategy": "FAIL_CLOSE",
            "imagePullPolicy": "IfNotPresent",
            **_pull_secret(site),
            **_config(plugin, site, inside, shards),
        }
        result = build("extensions.higress.io/v1alpha1", "WasmPlugin", name, site.gateway.site, spec=spec)
        _check_size(result, plugin, shards)
        yield result


def _pull_secret(site: Site) -> Config:
    """The account of the site's own registry; a program that is no image needs none."""
    return {"imagePullSecret": PULL_SECRET} if site.gateway.plugin_registry.startswith("oci://") else {}


def _config(plugin: Plugin, site: Site, tenants: Sequence[Tenant], shards: int) -> Config:
    result: Config = {"defaultConfigDisable": plugin.shared is None and not plugin.guard}
    if plugin.guard:
        # In one of several shards an unmatched route belongs to another shard, so it cannot be refused here.
        result["defaultConfig"] = {"unmatched": "deny" if shards == 1 else "pass"}
    if plugin.shared is not None:
        result["defaultConfig"] = result.get("defaultConfig", {}) | plugin.shared(site, tenants)
    rules = [_match_rule(tenant.project, rule) for tenant in tenants for rule in plugin.rules(site, tenant)]
    if not rules and plugin.idle is not None:
        rules = [{"ingress": [NO_ROUTE], "config": plugin.idle, "configDisable": False}]
    return result | ({"matchRules": rules} if rules else {})


def _match_rule(project: Project, rule: Rule) -> Config:
    routes = list(rule.routes) or route_names(project)
    match = {"service": list(rule.services)} if rule.services else {"ingress": routes}
    return match | {"config": rule.config, "configDisable": False}


def _check_size(result: Object, plugin: Plugin, shards: int) -> None:
    size = len(json.dumps(result, separators=(",", ":")))
    if size > MAX_BYTES:
        enough = -(-size * shards * 5 // (MAX_BYTES * 4))
        raise PolicyError(
            f"gateway.yml: shards.{plugin.name}: one object would be {size:,} bytes, above {MAX_BYTES:,}; "
            f"set it to {enough} or more (the change cuts running streams once)"
        )
