"""The gateway's listener: its filters, its access logs, and Envoy's start-up file."""

from __future__ import annotations

from typing import Any

from .clusters import HCM_TYPE, LISTENER_TYPE, ROUTER
from .settings import LOOPBACK, Settings

AUTHZ_CLUSTER = "stand-in.authz"
USAGE_CLUSTER = "stand-in.usage"
AUTHZ_NAMESPACE = "envoy.filters.http.ext_authz"
CALLER_NAMESPACE = "caller"
"""Dynamic metadata with `consumer` and `project`, kept for the logs when later filters drop the headers."""

_TYPE = "type.googleapis.com/envoy"
_UNAVAILABLE = {
    "error": {
        "message": "Quotas and limits cannot be checked at the moment. Nothing was sent to a model; try again.",
        "type": "server_error",
        "code": "limits_unavailable",
        "param": None,
        "gate": "limits",
    }
}


def discovered(name: str, config_dir: str, file: str, config_type: str) -> dict[str, Any]:
    """Filter whose configuration Envoy reads, and reads again, from a file of its own."""
    return {
        "name": name,
        "config_discovery": {"config_source": file_source(f"{config_dir}/{file}"), "type_urls": [config_type]},
    }


def file_source(path: str) -> dict[str, Any]:
    """Configuration source: a file that is replaced by renaming."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def caller_filter() -> dict[str, Any]:
    """Filter that notes who calls, for the logs: after key-auth said so, before other filters drop the headers."""
    consumer = {"metadata_namespace": CALLER_NAMESPACE, "key": "consumer"}
    project = {
        "metadata_namespace": CALLER_NAMESPACE,
        "key": "project",
        "regex_value_rewrite": {"pattern": {"regex": r"^([^.]+)\..*$"}, "substitution": r"\1"},
    }
    return {
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": [{"header": "x-mse-consumer", "on_header_present": rule} for rule in (consumer, project)],
        },
    }


def route_filter(plugin: str) -> dict[str, Any]:
    """Filter that makes Envoy choose the route anew, which it forgets when plugins edit headers; nothing else."""
    cors = {"@type": f"{_TYPE}.extensions.filters.http.cors.v3.Cors"}
    return {"name": f"route-for-{plugin}", "typed_config": cors}


def gateway_listener(filters: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Listener all clients call."""
    return {
        "@type": LISTENER_TYPE,
        "name": "gateway",
        "address": _socket(settings.ports.gateway),
        "per_connection_buffer_limit_bytes": settings.buffer_bytes,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _http(filters, settings)}]}],
    }


def _http(filters: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    return {
        "@type": HCM_TYPE,
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "normalize_path": True,
        "stream_idle_timeout": "0s",
        "common_http_protocol_options": {"idle_timeout": "180s"},
        "rds": {"route_config_name": "gateway", "config_source": file_source(f"{settings.config_dir}/rds.json")},
        "http_filters": [*filters, ROUTER],
        "local_reply_config": {"mappers": [_limits_unavailable()]},
        "access_log": [_file_log(settings), _usage_log()],
    }


def _limits_unavailable() -> dict[str, Any]:
    """When the stand-in for the limits is down itself, callers still get an error they can read."""
    return {
        "filter": _cel("response.code_details == 'ext_authz_error'"),
        "body_format_override": {"json_format": _UNAVAILABLE},
        "headers_to_add": [{"header": {"key": "x-gate", "value": "limits"}}],
    }


def _file_log(settings: Settings) -> dict[str, Any]:
    """One JSON line a request; nothing of prompts or credentials."""
    fields = {
        "time": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "host": "%REQ(:AUTHORITY)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "route": "%ROUTE_NAME%",
        "consumer": f"%DYNAMIC_METADATA({CALLER_NAMESPACE}:consumer)%",
        "project": f"%DYNAMIC_METADATA({CALLER_NAMESPACE}:project)%",
        "gate": "%RESP(X-GATE)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "upstream": "%UPSTREAM_CLUSTER%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "ai_log": "%FILTER_STATE(wasm.ai_log:PLAIN)%",
    }
    return {
        "name": "file",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": f"{settings.log_dir}/access.json",
            "log_format": {"json_format": fields},
        },
    }


def _usage_log() -> dict[str, Any]:
    """What the usage stand-in debits from: only requests the limits admitted."""
    return {
        "name": "usage",
        "filter": {
            "metadata_filter": {
                "matcher": {"filter": AUTHZ_NAMESPACE, "path": [{"key": "admitted"}], "value": {"bool_match": True}},
                "match_if_key_not_found": False,
            }
        },
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": "usage",
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": USAGE_CLUSTER}},
                # Unbuffered: a debit that waits lets a client's next request pass on a quota that is spent.
                "buffer_size_bytes": 0,
                "filter_state_objects_to_log": ["wasm.ai_log"],
            },
        },
    }


def _cel(expression: str) -> dict[str, Any]:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": expression,
            },
        }
    }


def bootstrap(settings: Settings) -> dict[str, Any]:
    """Envoy's start-up file: the same for every policy, so no policy needs a restart."""
    return {
        "node": {"id": "sandbox", "cluster": "sandbox"},
        "admin": {"address": _socket(settings.ports.admin)},
        "dynamic_resources": {
            "lds_config": file_source(f"{settings.config_dir}/lds.json"),
            "cds_config": file_source(f"{settings.config_dir}/cds.json"),
        },
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {"@type": f"{_TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"},
            }
        ],
        "stats_config": {"stats_tags": [{"tag_name": tag, "regex": regex} for tag, regex in _TAGS]},
    }


_TAGS = (
    ("ai_route", r"^wasmcustom\.route\.((.*?)\.)upstream\."),
    ("ai_cluster", r"^wasmcustom\.route\..*?\.?upstream\.((.*?)\.)model\."),
    ("ai_model", r"^wasmcustom\.route\..*?model\.((.*?)\.)consumer\."),
    ("ai_consumer", r"^wasmcustom\.route\..*?consumer\.((.*?)\.)metric\."),
)
"""Higress's own, so that its counters have its names and labels here."""


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
