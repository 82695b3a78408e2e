"""AI Gateway overview: who asks which model for how much, how fast it answers, and what is refused."""

from .identity import CHOSEN, VARIABLES, meter
from .model import Dashboard, Kind, Panel, Query, Row, Unit

TOKENS = "(estimated_)?(input|output|cache_read|cache_write)_token"
REFUSED = "ai_gateway:refused:total"
REFUSED_WHERE = 'org=~"$org|",project=~"$project|"'


def _tokens_by(label: str) -> Panel:
    return Panel(
        title=f"Tokens by {label}",
        why=f"Tokens of every kind, also estimated ones, by {label}.",
        unit=Unit.TOKENS_PER_SECOND,
        queries=(Query(meter(TOKENS, label), "{{" + label + "}}"),),
        stacked=True,
    )


def _mean(total: str, count: str, by: str) -> str:
    return f"{meter(total, by)} / ({meter(count, by)} > 0)"


def _refused(by: str, where: str = REFUSED_WHERE) -> str:
    return f"sum by ({by}) (rate({REFUSED}{{{where}}}[$__rate_interval]))"


TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Tokens a second",
            "Fresh input, cache reads, cache writes and output apart: they have different prices.",
            Unit.TOKENS_PER_SECOND,
            (Query(meter(TOKENS, "meter"), "{{meter}}"),),
            width=16,
            stacked=True,
        ),
        Panel(
            "Estimated share",
            "Part of the tokens that is an estimate, because the answer ended without usage.",
            Unit.RATIO,
            (
                Query(
                    f"sum({meter('estimated_.+_token', 'meter')}) / (sum({meter(TOKENS, 'meter')}) > 0)",
                    "estimated",
                ),
            ),
            kind=Kind.NUMBER,
            warn=0.05,
            bad=0.2,
        ),
    ),
)

TOKENS_BY = Row(
    "Tokens by whom and for what",
    tuple(_tokens_by(x) for x in ("model", "route", "project", "group", "user")),
)

ANSWERS = Row(
    "Requests, errors and refusals",
    (
        Panel(
            "Answered requests by project",
            "Requests that a provider answered and usage-guard metered.",
            Unit.REQUESTS_PER_SECOND,
            (Query(meter("request", "project"), "{{project}}"),),
        ),
        Panel(
            "Answers by status class",
            "Everything the gateway answered, its own refusals included.",
            Unit.REQUESTS_PER_SECOND,
            (Query("sum by (class) (ai_gateway:answers:rate5m)", "{{class}}xx"),),
        ),
        Panel(
            "Refusals by gate",
            "Which gate says no; a jump of one gate after a change of its Project file is that change.",
            Unit.REQUESTS_PER_SECOND,
            (Query(_refused("gate"), "{{gate}}"),),
            stacked=True,
        ),
        Panel(
            "403 and 429 a second",
            "403: not allowed, or no budget left. 429: a token limit a minute, hour or day is used up.",
            Unit.REQUESTS_PER_SECOND,
            (Query(_refused("status", f'status=~"403|429",{REFUSED_WHERE}'), "{{status}}"),),
        ),
        Panel(
            "Provider errors",
            "Answers of the providers with 5xx, by upstream; a fallback may have hidden them from users.",
            Unit.REQUESTS_PER_SECOND,
            (
                Query(
                    "sum by (provider) (rate("
                    'ai_gateway:provider_answers:total{class="5",provider!=""}[$__rate_interval]))',
                    "{{provider}}",
                ),
            ),
        ),
    ),
)

SPEED = Row(
    "Speed",
    (
        Panel(
            "Time to first token by model",
            "Mean over streamed answers.",
            Unit.MILLISECONDS,
            (
                Query(
                    _mean("llm_first_token_duration", "llm_stream_duration_count", "model"),
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            "Time to first token by route",
            "Mean over streamed answers.",
            Unit.MILLISECONDS,
            (
                Query(
                    _mean("llm_first_token_duration", "llm_stream_duration_count", "route"),
                    "{{route}}",
                ),
            ),
        ),
        Panel(
            "Whole answer by model",
            "Mean time from request to the end of the answer.",
            Unit.MILLISECONDS,
            (Query(_mean("llm_service_duration", "llm_duration_count", "model"), "{{model}}"),),
        ),
        Panel(
            "Whole answer by route",
            "Mean time from request to the end of the answer.",
            Unit.MILLISECONDS,
            (Query(_mean("llm_service_duration", "llm_duration_count", "route"), "{{route}}"),),
        ),
        Panel(
            "Gateway answers, 50th and 95th percentile",
            "Everything the gateway answered, refusals included.",
            Unit.MILLISECONDS,
            tuple(
                Query(f"histogram_quantile({q}, ai_gateway:answer_ms_bucket:rate5m)", f"p{int(q * 100)}")
                for q in (0.5, 0.95)
            ),
        ),
    ),
)

TOP = Row(
    "Heaviest users",
    (
        Panel(
            "Tokens in the chosen time, by user and model",
            "The twenty heaviest.",
            Unit.COUNT,
            (
                Query(
                    "topk(20, sum by (org, project, group, user, model) "
                    f'(increase(ai_gateway:meter:total{{meter=~"{TOKENS}",{CHOSEN}}}[$__range])))'
                ),
            ),
            kind=Kind.TABLE,
            width=24,
        ),
    ),
)

OVERVIEW = Dashboard(
    uid="ai-gateway-overview",
    title="AI Gateway overview",
    why="Traffic, refusals and speed of the gateway, by org, project, group, user and model.",
    rows=(TRAFFIC, TOKENS_BY, ANSWERS, SPEED, TOP),
    variables=VARIABLES,
)
