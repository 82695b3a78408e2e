"""The identity names that every dashboard, rule and log shares: org, project, group, user, model."""

from .model import Variable

# Recorded by rules/usage.yml: counters of usage-guard and ai-statistics with who they belong to.
METER = "ai_gateway:meter:total"

VARIABLES = (
    Variable("org", METER, "org"),
    Variable("project", METER, "project", within=("org",)),
    Variable("group", METER, "group", within=("org", "project")),
    Variable("user", METER, "user", within=("org", "project", "group")),
    Variable("model", METER, "model", within=("org", "project")),
)

PEOPLE = 'org=~"$org",project=~"$project",group=~"$group",user=~"$user"'
CHOSEN = f'{PEOPLE},model=~"$model"'


def meter(name: str, by: str, *, window: str = "$__rate_interval", where: str = CHOSEN) -> str:
    """PromQL: a meter's increase per second, summed by the labels ``by`` (a comma list)."""
    return f'sum by ({by}) (rate({METER}{{meter=~"{name}",{where}}}[{window}]))'
