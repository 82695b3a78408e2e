"""Filter sign_on_config: the config file of oauth2-proxy from inventory variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on.config import (
    Google,
    Oidc,
    Settings,
    oauth2_proxy,
)

DOCUMENTATION = r"""
name: sign_on_config
short_description: Config file of oauth2-proxy
version_added: 0.1.0
description:
  - Gives the text of the config file (TOML) with which oauth2-proxy signs people on. No secret is in it.
author: Opsta (@opsta)
options:
  _input:
    description:
      - C(public_url), C(address), C(client_id), C(domains), C(redis_url), C(trusted_proxies), and either C(google)
        (C(admin) and C(service_account_file), or nothing) or C(oidc) (C(issuer)).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the config
  ansible.builtin.debug:
    msg: "{{ settings | opsta.ai_gateway.sign_on_config }}"
"""

RETURN = r"""
_value:
  description: The file's text, the same for the same settings.
  type: str
"""

_MADE = ("google", "oidc", "domains", "trusted_proxies")


def sign_on_config(settings: Mapping[str, Any]) -> str:
    """Return the text; raises AnsibleFilterError that names the mistake."""
    plain = {name: value for name, value in settings.items() if name not in _MADE}
    try:
        provider = Google(**settings["google"]) if "google" in settings else Oidc(**settings["oidc"])
        made = Settings(
            provider=provider,
            domains=tuple(settings["domains"]),
            trusted_proxies=tuple(settings["trusted_proxies"]),
            **plain,
        )
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"sign_on_config: {error}") from error
    return oauth2_proxy(made)


class FilterModule:
    """The filters of this file, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return them by name."""
        return {"sign_on_config": sign_on_config}
