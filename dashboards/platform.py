"""Platform: is each part that carries the gateway alive and in force."""

from .model import Dashboard, Kind, Panel, Query, Row, Unit

GATEWAY = Row(
    "Gateway",
    (
        Panel(
            "Gateways up",
            "Gateway processes that answer a scrape.",
            Unit.COUNT,
            (Query('sum(up{job="higress-gateway"})', "up"),),
            kind=Kind.NUMBER,
            width=4,
            height=6,
        ),
        Panel(
            "Refused configs of guards",
            "A config that a gateway refused in the last hour; the old one goes on.",
            Unit.COUNT,
            (Query("sum by (guard) (increase(ai_gateway:guard_config_rejected:total[1h]))", "{{guard}}"),),
            width=7,
            height=6,
        ),
        Panel(
            "Memory",
            "Envoy's allocated memory, by gateway.",
            Unit.BYTES,
            (Query("envoy_server_memory_allocated", "{{instance}}"),),
            width=7,
            height=6,
        ),
        Panel(
            "Open requests",
            "Requests in flight; long streams count until their end.",
            Unit.COUNT,
            (
                Query(
                    "sum by (instance) "
                    '(envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix!~"admin|agent|stats.*"})',
                    "{{instance}}",
                ),
            ),
            width=6,
            height=6,
        ),
    ),
)

CONTROLLER = Row(
    "Budget controller",
    (
        Panel(
            "Since the last success",
            "Grows to one interval and falls back; the alert fires above ten minutes.",
            Unit.SECONDS,
            (Query("time() - max(aigw_budget_last_success_timestamp_seconds)", "age"),),
            kind=Kind.NUMBER,
            width=6,
            height=6,
            warn=300,
            bad=600,
        ),
        Panel(
            "A run takes",
            "Seconds of the last run.",
            Unit.SECONDS,
            (Query("max(aigw_budget_run_seconds)", "run"),),
            width=9,
            height=6,
        ),
        Panel(
            "Models without a price, consumers of no Project",
            "What the last run found in the counters and could not book as usual; both should be 0.",
            Unit.COUNT,
            (
                Query("max(aigw_budget_unpriced_models)", "models without a price"),
                Query("max(aigw_budget_strangers)", "consumers of no Project"),
            ),
            width=9,
            height=6,
        ),
    ),
)

REDIS = Row(
    "Redis",
    (
        Panel(
            "Replicas of the master",
            "0 means that a loss of the master loses balances.",
            Unit.COUNT,
            (Query("max(redis_connected_slaves)", "replicas"),),
            kind=Kind.NUMBER,
            width=4,
            height=6,
            bad=1,
            low_is_bad=True,
        ),
        Panel(
            "Memory used",
            "Balances are small; growth means foreign keys.",
            Unit.BYTES,
            (Query("redis_memory_used_bytes", "{{instance}}"),),
            width=10,
            height=6,
        ),
        Panel(
            "Commands a second",
            "Two or three per request.",
            Unit.REQUESTS_PER_SECOND,
            (
                Query(
                    "sum by (instance) (rate(redis_commands_processed_total[$__rate_interval]))",
                    "{{instance}}",
                ),
            ),
            width=10,
            height=6,
        ),
    ),
)

CLUSTER = Row(
    "k3s and certificates (empty in the sandbox: it has neither)",
    (
        Panel(
            "Nodes ready",
            "By node; 0 is not ready.",
            Unit.COUNT,
            (Query('max by (node) (kube_node_status_condition{condition="Ready",status="true"})', "{{node}}"),),
            width=8,
        ),
        Panel(
            "CPU by pod",
            "The gateway's namespace only.",
            Unit.CORES,
            (
                Query(
                    "topk(10, sum by (pod) (rate(container_cpu_usage_seconds_total"
                    '{namespace="higress-system",container!=""}[$__rate_interval])))',
                    "{{pod}}",
                ),
            ),
            width=8,
        ),
        Panel(
            "Restarts in the last hour",
            "A part that restarts again and again is broken even when its pod is ready.",
            Unit.COUNT,
            (
                Query(
                    "sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total[1h])) > 0",
                    "{{namespace}} / {{pod}}",
                ),
            ),
            width=8,
        ),
        Panel(
            "Certificates: days left",
            "cert-manager renews at a third of the lifetime; below 14 days it has failed.",
            Unit.COUNT,
            (
                Query(
                    "min by (namespace, name) "
                    "((certmanager_certificate_expiration_timestamp_seconds - time()) / 86400)",
                    "{{namespace}} / {{name}}",
                ),
            ),
            kind=Kind.BARS,
            width=12,
            bad=14,
            low_is_bad=True,
        ),
        Panel(
            "Plugin pulls that failed",
            "Plugins that a gateway could not fetch or whose checksum was wrong, in the last hour.",
            Unit.COUNT,
            (
                Query(
                    'sum by (result) (increase(istio_agent_wasm_remote_fetch_count{result!="success"}[1h]))',
                    "{{result}}",
                ),
            ),
            width=12,
        ),
    ),
)

PLATFORM = Dashboard(
    uid="ai-gateway-platform",
    title="Platform",
    why="Gateway, budget controller, Redis, k3s and certificates.",
    rows=(GATEWAY, CONTROLLER, REDIS, CLUSTER),
    variables=(),
)
