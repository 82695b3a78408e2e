"""Higress's ai-proxy: the provider's own key, host and model name. Its rules are matched by service."""

from __future__ import annotations

from collections.abc import Iterator

from ..members import Tenant
from ..secret import provider_key
from ..spec import Project, Provider, Site
from .key_auth import key_secret
from .objects import secret_reference
from .plugin import Config, Plugin, Rule
from .routes import service_name

# The option of ai-proxy that holds a provider's address, for types that do not have a fixed one.
_URL_OPTION = {"openai": "openaiCustomUrl", "azure": "azureServiceUrl"}


def _mapping(project: Project, provider: str) -> dict[str, str]:
    """alias -> this provider's model, for the aliases that it serves (a provider stands once in an alias)."""
    return {
        name: target.model
        for name, alias in sorted(project.models.items())
        for target in (*alias.targets, *([alias.fallback] if alias.fallback else []))
        if target.provider == provider
    }


def _provider(project: Project, name: str, provider: Provider) -> Config:
    token = secret_reference(key_secret(project), provider_key(provider.key))
    config: Config = {"type": provider.type, "apiTokens": [token], "modelMapping": _mapping(project, name)}
    if provider.type in _URL_OPTION:
        config[_URL_OPTION[provider.type]] = provider.url
    return {"provider": config}


def _rules(_site: Site, tenant: Tenant) -> Iterator[Rule]:
    project = tenant.project
    for name, provider in sorted(project.providers.items()):
        yield Rule(_provider(project, name, provider), services=(service_name(project, name),))


AI_PROXY = Plugin(
    "ai-proxy",
    "ai-proxy",
    "2.0.0",
    "UNSPECIFIED_PHASE",
    100,
    _rules,
    idle={"provider": {"type": "openai", "apiTokens": ["none"]}},
)
