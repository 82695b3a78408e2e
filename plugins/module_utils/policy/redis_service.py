"""How built-in plugins are told where Redis is."""

from __future__ import annotations

from typing import Any

from ..spec import Site


def redis_service(site: Site) -> dict[str, Any]:
    """The `redis` block of ai-quota and ai-token-ratelimit; the password stays a reference to a Secret. timeout: ms."""
    redis = site.gateway.redis
    block: dict[str, Any] = {"service_name": redis.service, "service_port": redis.port, "timeout": 500}
    if redis.password_secret:
        block["password"] = f"${{secret.{redis.password_secret}}}"
    return block
