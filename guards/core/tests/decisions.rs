//! Who a request is from, what model it gets, and how refusals are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use guard_core::allowlist;
use guard_core::identity::{Entrance, Identity, Person, Source, Table};
use guard_core::labels::Labels;
use guard_core::refusal::Refusal;
use guard_core::refused::{counter, explain, Local, Outcome};
use guard_core::rules::{Found, Rules, Target};
use serde_json::{json, Value};

const TARGET: Target<'static> = Target {
    route: "r",
    host: "",
    cluster: "",
};

fn table(config: &Value) -> Box<Rules<Table>> {
    match Identity::parse(config.to_string().as_bytes()).unwrap() {
        Identity::Assign(rules) => rules,
        Identity::Entrance(_) => panic!("the other stage"),
    }
}

fn rule<R>(rules: &Rules<R>) -> &R {
    match rules.find(TARGET) {
        Found::Rule(rule) => rule,
        _ => panic!("no rule"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (u32, &'static str) {
    let refusal = result.unwrap_err();
    (refusal.status, refusal.code)
}

#[test]
fn a_person_is_who_the_table_says() {
    let rules = table(&json!({"stage": "assign", "_rules_": [{
        "_match_route_": ["r"], "org": "acme", "project": "atlas",
        "groups": {"dev": ["alice", "eve"], "ops": ["bob"]}, "blocked": {"groups": ["ops"], "users": ["eve"]},
    }]}));
    let table = rule(&rules);
    let alice = Person {
        org: "acme",
        project: "atlas",
        group: "dev",
        user: "alice",
    };
    assert_eq!(table.person(&[b"atlas.alice"]).unwrap(), alice);
    assert_eq!(code(table.person(&[])), (401, "key_missing"));
    assert_eq!(
        code(table.person(&[b"atlas.alice", b"atlas.bob"])),
        (401, "key_missing")
    );
    for stranger in [
        "beacon.alice",
        "alice",
        "atlas.",
        "atlas.zoe",
        "atlas.alice.x",
        "",
        "ATLAS.alice",
    ] {
        assert_eq!(
            code(table.person(&[stranger.as_bytes()])),
            (403, "key_wrong_project"),
            "{stranger}"
        );
    }
    assert_eq!(code(table.person(&[b"\xFF"])), (403, "key_wrong_project"));
    assert_eq!(code(table.person(&[b"atlas.eve"])), (403, "blocked"));
    assert_eq!(code(table.person(&[b"atlas.bob"])), (403, "blocked"));
}

#[test]
fn identity_configs_that_cannot_be_obeyed() {
    for config in [
        json!({}),
        json!({"stage": "exit"}),
        json!({"stage": "entrance", "strip": "x"}),
        json!({"stage": "entrance", "stripp": []}),
        json!({"stage": "assign", "_rules_": [{"_match_route_": ["r"], "org": "o", "project": "p", "groups": {"a": ["u"], "b": ["u"]}}]}),
        json!({"stage": "assign", "_rules_": [{"_match_route_": ["r"], "org": "o", "project": "p"}]}),
        json!({"stage": "assign", "_rules_": [{"_match_route_": ["r"], "org": "o", "project": "p", "groups": {},
            "remember": true, "redirected": true}]}),
    ] {
        assert!(
            Identity::parse(config.to_string().as_bytes()).is_err(),
            "{config}"
        );
    }
}

#[test]
fn a_rule_says_where_its_consumer_comes_from() {
    for (flags, source) in [
        (json!({}), Source::Header),
        (json!({"remember": true}), Source::HeaderKept),
        (json!({"redirected": true}), Source::Kept),
    ] {
        let mut rule = json!({"_match_route_": ["r"], "org": "o", "project": "p", "groups": {"g": ["u"]}});
        rule.as_object_mut()
            .unwrap()
            .extend(flags.as_object().unwrap().clone());
        let rules = table(&json!({"stage": "assign", "_rules_": [rule]}));
        assert_eq!(self::rule(&rules).source(), source);
    }
}

#[test]
fn forged_headers_are_known_in_every_spelling() {
    let config = br#"{"stage":"entrance","strip":["x-secret"],"strip_prefixes":["x-envoy-"]}"#;
    let entrance: Entrance = serde_json::from_slice(config).unwrap();
    for name in [
        "x-mse-consumer",
        "X-Mse-Consumer",
        "x_mse_consumer",
        "x-dev-user",
        "X-DEV-anything",
        "x_dev_user",
        "x-higress-llm-model",
        "x-secret",
        "x-envoy-retry-on",
        "x-hi-original-auth",
    ] {
        assert!(entrance.forged(name, || false), "{name}");
        let steers = name.starts_with("x-higress-");
        assert_eq!(entrance.forged(name, || true), !steers, "{name}");
    }
    for name in [
        "authorization",
        "x-request-id",
        "workload",
        "x-secrets",
        "x-device",
    ] {
        assert!(!entrance.forged(name, || false), "{name}");
    }
}

#[test]
fn the_workload_decides_before_the_body() {
    let config = json!({"_rules_": [{
        "_match_route_": ["r"], "project": "atlas", "max_body_bytes": 10,
        "groups": {"dev": ["coding", "bulk"], "ops": ["bulk"], "none": []}, "workloads": {"night": "bulk"},
    }]});
    let rules = allowlist::parse(config.to_string().as_bytes()).unwrap();
    let rule = rule(&rules);
    let dev = rule.models("atlas", "dev").unwrap();
    assert_eq!(rule.decide(dev, None, "coding").unwrap(), "coding");
    assert_eq!(rule.decide(dev, Some("night"), "coding").unwrap(), "bulk");
    assert_eq!(rule.decide(dev, Some("night"), "gpt-unknown").unwrap(), "bulk");
    assert_eq!(rule.decide(dev, Some("day"), "coding").unwrap(), "coding");
    let refused = rule
        .decide(rule.models("atlas", "ops").unwrap(), None, "coding")
        .unwrap_err();
    assert_eq!((refused.status, refused.code), (403, "model_not_allowed"));
    assert!(
        refused.message.ends_with("It may use: bulk."),
        "{}",
        refused.message
    );
    for (project, group) in [("beacon", "dev"), ("atlas", "unknown"), ("", "")] {
        assert_eq!(code(rule.models(project, group)), (403, "model_not_allowed"));
    }
    let list: Value = serde_json::from_slice(&rule.list(dev)).unwrap();
    assert_eq!(list["object"], "list");
    assert_eq!(
        list["data"][1],
        json!({"id": "bulk", "object": "model", "created": 0, "owned_by": "atlas"})
    );
}

#[test]
fn a_model_must_be_a_string() {
    let model = allowlist::model(br#"{"messages":[{"model":"x"}],"m\u006fdel":"a\u0062"}"#).unwrap();
    assert_eq!(model.name, "ab");
    for body in [
        "{}",
        r#"{"model":1}"#,
        r#"{"model":null}"#,
        r#"{"model":["a"]}"#,
        r#"{"model":{"model":"a"}}"#,
    ] {
        let refused = allowlist::model(body.as_bytes()).unwrap_err();
        assert_eq!(
            (refused.status, refused.code, refused.param),
            (400, "body_malformed", Some("model")),
            "{body}"
        );
    }
}

#[test]
fn refusals_of_built_in_gates_are_told_apart() {
    let cases = [
        (
            401,
            "Request_denied_by_Key_Auth_check._Invalid_API_key",
            "",
            true,
            "key-auth",
            "key_invalid",
        ),
        (
            401,
            "missing_api_key",
            "Client authentication failed.",
            false,
            "key-auth",
            "key_missing",
        ),
        (
            403,
            "Request_denied_by_Key_Auth_check._Unauthorized_consumer",
            "",
            true,
            "key-auth",
            "key_wrong_project",
        ),
        (
            403,
            "key-auth.unauthorized",
            "Request denied by Key Auth check.",
            true,
            "key-auth",
            "key_wrong_project",
        ),
        (
            403,
            "ai-quota.noquota",
            "Request denied by ai quota check, No quota left",
            true,
            "ai-quota",
            "quota_exhausted",
        ),
        (
            403,
            "ext_authz_denied",
            "Request denied by ai quota check, No quota left",
            true,
            "ai-quota",
            "quota_exhausted",
        ),
        (
            429,
            "ai-token-ratelimit.rejected",
            "Too many requests",
            true,
            "ai-token-ratelimit",
            "token_limit_exceeded",
        ),
        (404, "route_not_found", "", true, "gateway", "route_unknown"),
        (
            413,
            "request_payload_too_large",
            "Payload Too Large",
            true,
            "gateway",
            "body_too_large",
        ),
        (503, "ext_authz_error", "", true, "ai-quota", "budget_unavailable"),
        (
            503,
            "upstream_reset_before_response_started{connection_failure}",
            "upstream connect error",
            true,
            "provider",
            "provider_unavailable",
        ),
        (
            504,
            "response_timeout",
            "upstream request timeout",
            true,
            "provider",
            "provider_unavailable",
        ),
        (500, "wasm_fail_stream", "", true, "gateway", "gateway_error"),
        (403, "rbac", "", true, "gateway", "forbidden"),
    ];
    for (status, details, body, had_key, gate, expected) in cases {
        let local = Local {
            status,
            details,
            body: body.as_bytes(),
            had_key,
            reset: None,
        };
        let Outcome::Replace(refusal) = explain(&local) else { panic!("{details} was kept") };
        assert_eq!(
            (refusal.status, refusal.gate, refusal.code),
            (status, gate, expected),
            "{details}"
        );
        let body: Value = serde_json::from_slice(&refusal.body()).unwrap();
        assert_eq!(
            (&body["error"]["gate"], &body["error"]["code"]),
            (&json!(gate), &json!(expected))
        );
    }
    let ours = Local {
        status: 429,
        details: "",
        body: br#"{"error":{"message":"m"}}"#,
        had_key: true,
        reset: None,
    };
    assert_eq!(explain(&ours), Outcome::Keep(None));
    for (gate, told) in [
        ("ai-token-ratelimit-user", true),
        ("", false),
        ("a\r\nb", false),
        (&"a".repeat(41), false),
    ] {
        let body = json!({"error": {"message": "m", "gate": gate}}).to_string();
        let ours = Local {
            body: body.as_bytes(),
            ..ours
        };
        assert_eq!(explain(&ours), Outcome::Keep(told.then(|| gate.to_owned())));
    }
    let late = Local {
        body: b"{}",
        reset: Some(12),
        ..ours
    };
    let Outcome::Replace(refusal) = explain(&late) else { panic!("kept") };
    assert_eq!(refusal.details["reset_seconds"], 12);
}

#[test]
fn refusals_are_counted_by_gates_of_ours() {
    assert_eq!(counter("prompt-guard", 403), "refused_prompt_guard_403");
    assert_eq!(
        counter("ai-token-ratelimit-user", 429),
        "refused_ai_token_ratelimit_user_429"
    );
    for odd in ["", "x", "Prompt-Guard", "prompt_guard"] {
        assert_eq!(counter(odd, 403), "refused_other_403");
    }
}

/// What the gateway's tag expressions make of a counter's name.
fn taken_apart(counter: &str) -> [String; 4] {
    let name = format!("wasmcustom.{counter}");
    [
        r"^wasmcustom\.route\.((.*?)\.)upstream\.",
        r"^wasmcustom\.route\..*?\.?upstream\.((.*?)\.)model\.",
        r"^wasmcustom\.route\..*?model\.((.*?)\.)consumer\.",
        r"^wasmcustom\.route\..*?consumer\.((.*?)\.)metric\.",
    ]
    .map(|tag| {
        let regex = regex_automata::meta::Regex::new(tag).unwrap();
        let mut captures = regex.create_captures();
        regex.captures(&name, &mut captures);
        name.get(captures.get_group(2).unwrap().range())
            .unwrap()
            .to_owned()
    })
}

#[test]
fn labels_survive_the_tag_expressions() {
    let plain = Labels::new(
        "atlas.coding-default",
        "outbound|443||atlas-a.dns",
        "gpt-4.1-2025-04-14",
        "atlas.alice",
    );
    assert_eq!(
        taken_apart(&plain.counter("usage_request")),
        [
            "atlas.coding-default",
            "outbound|443||atlas-a.dns",
            "gpt-4.1-2025-04-14",
            "atlas.alice"
        ]
    );
    let words = ["upstream", "model", "consumer", "metric", "route"];
    for word in words {
        for form in [
            word.to_owned(),
            format!("{word}.x"),
            format!("a.{word}.x"),
            format!("a.{word}"),
            format!("my-{word}"),
            format!("my{word}.v1"),
        ] {
            let labels = Labels::new(&form, &format!("o|1||{form}"), &form, &form);
            let parts = taken_apart(&labels.counter("usage_output_token"));
            let dotted = |text: &str| text.replace('.', "_").trim_end_matches('_').to_owned();
            for (part, expected) in
                parts
                    .iter()
                    .zip([form.clone(), format!("o|1||{form}"), form.clone(), form.clone()])
            {
                assert_eq!(dotted(part), dotted(&expected), "{form}: {parts:?}");
            }
        }
    }
    assert_eq!(
        taken_apart(&Labels::new("", "", "", "").counter("x")),
        ["none", "none", "none", "none"]
    );
    assert_eq!(Labels::new("r", "c", "a b\"{}\né", "p.u").model(), "a_b_____");
    assert_eq!(Labels::new("r", "c", &"m".repeat(5000), "p.u").model().len(), 128);
}
