//! Rules are found as Higress's matchers find them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use guard_core::rules::{Found, Rules, Target};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{json, Value};

#[derive(Debug, Deserialize, PartialEq, Clone)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
}

fn parse(config: &Value) -> Result<Rules<Rule>, String> {
    Rules::parse(config.to_string().as_bytes(), &["setting"])
}

fn found(rules: &Rules<Rule>, route: &str, host: &str, cluster: &str) -> String {
    match rules.find(Target { route, host, cluster }) {
        Found::Rule(rule) => rule.name.clone(),
        Found::Deny => "deny".to_owned(),
        Found::Pass => "pass".to_owned(),
    }
}

#[test]
fn the_first_rule_that_fits_wins_whatever_its_kind() {
    let rules = parse(&json!({"setting": 1, "_rules_": [
        {"_match_domain_": ["*.wild.test", "pre*"], "name": "0"},
        {"_match_route_": ["r1", "ns/r2"], "name": "1"},
        {"_match_service_": ["llm.dns:443", "plain.dns"], "name": "2"},
        {"_match_route_": ["r1", "r3"], "name": "3"},
        {"_match_domain_": ["exact.test"], "name": "4"},
    ]}))
    .unwrap();
    let cases = [
        ("r1", "exact.test", "outbound|443||llm.dns", "1"),
        ("ns/r2", "", "", "1"),
        ("r3", "a.wild.test:8080", "", "0"),
        ("r3", "prefix", "", "0"),
        ("r3", "wild.test", "", "3"),
        ("", "exact.test:80", "", "4"),
        ("", "Exact.test", "", "deny"),
        ("", "exact.test", "outbound|443||llm.dns", "2"),
        ("", "", "outbound|80||llm.dns", "deny"),
        ("", "", "outbound|80||plain.dns", "2"),
        ("", "", "plain.dns", "deny"),
        ("", "[::1]:80", "", "deny"),
        ("r4", "", "", "deny"),
    ];
    for (route, host, cluster, expected) in cases {
        assert_eq!(
            found(&rules, route, host, cluster),
            expected,
            "{route} {host} {cluster}"
        );
    }
}

#[test]
fn the_global_config_is_for_the_rest() {
    let rules =
        parse(&json!({"name": "global", "_rules_": [{"_match_route_": ["r"], "name": "rule"}]})).unwrap();
    assert_eq!(
        (found(&rules, "r", "", ""), found(&rules, "x", "", "")),
        ("rule".to_owned(), "global".to_owned())
    );
    let passing =
        parse(&json!({"unmatched": "pass", "_rules_": [{"_match_route_": ["r"], "name": "rule"}]})).unwrap();
    assert_eq!(found(&passing, "x", "", ""), "pass");
}

#[test]
fn what_cannot_be_obeyed_to_the_letter_is_refused() {
    let bad = [
        json!([]),
        json!(null),
        json!({"_rules_": {}}),
        json!({"unmatched": "maybe"}),
        json!({"typo": 1}),
        json!({"_rules_": ["r"]}),
        json!({"_rules_": [{"name": "x"}]}),
        json!({"_rules_": [{"_match_route_": [], "name": "x"}]}),
        json!({"_rules_": [{"_match_route_": "r", "name": "x"}]}),
        json!({"_rules_": [{"_match_route_": ["r"], "_match_domain_": ["d"], "name": "x"}]}),
        json!({"_rules_": [{"_match_route_": ["r"], "_match_route_prefix_": ["d"], "name": "x"}]}),
        json!({"_rules_": [{"_match_route_": ["r"], "nmae": "x"}]}),
        json!({"_rules_": [{"_match_route_": ["r"]}]}),
    ];
    for config in bad {
        assert!(parse(&config).is_err(), "{config}");
    }
    assert!(Rules::<Rule>::parse(b"{", &[]).is_err());
    assert!(Rules::<Rule>::parse(b"", &[]).is_err());
}

/// The linear search of Higress's own matchers, as a model.
fn linear(rules: &[(usize, String)], target: &Target<'_>) -> Option<usize> {
    let host = target.host.split(':').next().unwrap();
    rules.iter().position(|(kind, name)| match kind {
        0 => target.route == name,
        1 => match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(end), _) => host.ends_with(end),
            (None, Some(start)) => host.starts_with(start),
            (None, None) => host == name,
        },
        _ => {
            let parts: Vec<&str> = target.cluster.split('|').collect();
            let (port, service) = (parts[1], parts[3]);
            service == name || format!("{service}:{port}") == *name
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hashing_finds_what_a_linear_search_finds(
        rules in prop::collection::vec((0usize..3, "[ab]{1,2}|\\*[ab]{0,2}|[ab]{1,2}\\*|[ab]{1,2}:1"), 0..12),
        route in "[ab]{1,2}", host in "[ab]{1,3}(:1)?", service in "[ab]{1,2}",
    ) {
        let list: Vec<Value> = rules.iter().enumerate().map(|(position, (kind, name))| {
            let key = ["_match_route_", "_match_domain_", "_match_service_"][*kind];
            json!({key: [name], "name": position.to_string()})
        }).collect();
        let parsed = parse(&json!({"_rules_": list})).unwrap();
        let cluster = format!("outbound|1||{service}");
        let expected = linear(&rules, &Target { route: &route, host: &host, cluster: &cluster });
        prop_assert_eq!(found(&parsed, &route, &host, &cluster), expected.map_or("deny".to_owned(), |at| at.to_string()));
    }
}
