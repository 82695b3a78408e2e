"""From a site's directory to the sandbox's files: what the module does, without Ansible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..plan import Plan, make_plan
from ..policy import policy_at, with_keys
from ..policy.records import is_record
from ..secret import Secrets, minted_for
from ..spec import Site, load_site
from .access import access, summary
from .admin import Admin
from .apply import Place, put_into_force
from .compiler import Compiled, compile_objects
from .files import replace_if_changed, text_of
from .layout import Layout
from .settings import Ports, Settings
from .supervise import processes_of
from .taken import check_ports


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a site, and the sandbox it goes to."""

    site_dir: Path
    sandbox_dir: Path
    port_base: int
    programs: Mapping[str, str]
    endpoints: Mapping[str, tuple[str, int]]
    now: datetime

    @property
    def layout(self) -> Layout:
        """The sandbox's paths."""
        return Layout(self.sandbox_dir)

    @property
    def ports(self) -> Ports:
        """The sandbox's ports."""
        return Ports.from_base(self.port_base)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything worked out, nothing done."""

    request: Request
    site: Site
    secrets: Secrets
    objects: tuple[dict[str, Any], ...]
    compiled: Compiled
    plan: Plan

    def texts(self) -> Mapping[Path, str]:
        """Files besides Envoy's."""
        layout, ports = self.request.layout, self.request.ports
        reached = access(self.site, self.secrets, ports, self.request.now)
        return {
            layout.secrets: json.dumps(self.secrets, indent=1),
            layout.objects: json.dumps(self.objects, indent=1),
            layout.access: json.dumps(reached, indent=1),
            layout.summary: summary(self.site, reached, ports),
            **{layout.mounted(name, key): text for name, key, text in _for_services(self.objects)},
        }


def prepare(request: Request) -> Prepared:
    """Work a site out.

    Raises SpecError, SecretError, PolicyError or ObjectsRefusedError with every reason, PortsTakenError when something
    else listens where the sandbox would.
    """
    site = load_site(request.site_dir)
    layout = request.layout
    check_ports(request.ports, processes_of(layout.root))
    policy = policy_at(site, request.now)
    secrets = minted_for(policy.tenants, _load(layout.secrets, {}))
    objects = with_keys(policy, secrets)
    settings = Settings(
        ports=request.ports,
        config_dir=str(layout.envoy),
        log_dir=str(layout.log),
        programs=request.programs,
        endpoints=request.endpoints,
    )
    compiled = compile_objects(objects, settings)
    return Prepared(request, site, secrets, objects, compiled, make_plan(objects, _load(layout.objects, [])))


def carry_out(prepared: Prepared, *, dry: bool) -> tuple[str, ...]:
    """Put a site into force; return the files that changed (`dry`: would change).

    Raises NotInForceError with Envoy's reason, and then the old policy goes on, on disk as well.
    """
    layout = prepared.request.layout
    place = Place(layout.envoy, layout.envoy_log, Admin(prepared.request.ports.admin))
    texts = prepared.texts()
    if dry:
        changed = list(place.differing(prepared.compiled.files))
    else:
        layout.make()
        # Keys are kept even if Envoy refuses the rest: what was minted once stays.
        replace_if_changed(layout.secrets, texts[layout.secrets])
        changed = list(put_into_force(prepared.compiled, place))
    for path, text in texts.items():
        if replace_if_changed(path, text, dry=dry):
            changed.append(path.name)
    return tuple(changed)


def _for_services(objects: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Name, key and text of what the site's ConfigMaps hold; records are not for services."""
    for obj in objects:
        metadata = obj["metadata"]
        if obj["kind"] == "ConfigMap" and not is_record(obj):
            yield from ((metadata["name"], key, text) for key, text in obj["data"].items())


def _load(path: Path, default: Any) -> Any:
    text = text_of(path)
    return default if text is None else json.loads(text)
