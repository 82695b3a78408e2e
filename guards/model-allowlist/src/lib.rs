//! The guard `model-allowlist`: answers `/v1/models`, refuses models, and chooses the route by the alias.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

use guard_core::allowlist::{model, parse, Allowlist, GATE};
use guard_core::json::Edits;
use guard_core::refusal::Refusal;
use guard_core::shape::Shape;
use guard_host::{Headers, Reads, Request, Root};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(parse, |rules| Box::new(Request::<Choice>::new(rules))));
}}

/// The header that the routes of aliases match.
const ALIAS: &str = "x-higress-llm-model";

struct Choice;

impl Reads for Choice {
    type Rule = Allowlist;
    const GATE: &'static str = GATE;

    fn limit(rule: &Allowlist) -> usize {
        rule.max_body_bytes
    }

    fn by_headers(rule: &Allowlist, headers: &Headers, _: bool) -> Result<Option<Action>, Refusal> {
        match Shape::of(&headers.text(":path")) {
            Shape::Models => list(rule, headers).map(Some),
            _ => Ok(None),
        }
    }

    fn by_body(rule: &Allowlist, headers: &Headers, body: &[u8]) -> Result<(), Refusal> {
        let asked = model(body)?;
        let workload = headers.first("workload");
        let alias = rule.decide(allowed(rule, headers)?, workload.as_deref(), &asked.name)?;
        if alias != asked.name {
            let mut edits = Edits::default();
            edits.replace_text(asked.span, alias);
            let (end, head) = edits.head(body);
            if !guard_host::replace_request_head(end, &head, body.len()) {
                return Err(Refusal::misconfigured(GATE));
            }
        }
        guard_host::set_request_header(ALIAS, alias);
        Ok(())
    }
}

fn allowed<'r>(rule: &'r Allowlist, headers: &Headers) -> Result<&'r [String], Refusal> {
    rule.models(&headers.text("x-dev-project"), &headers.text("x-dev-group"))
}

fn list(rule: &Allowlist, headers: &Headers) -> Result<Action, Refusal> {
    if headers.first(":method").as_deref() != Some("GET") {
        return Err(Refusal::route_unknown(GATE));
    }
    Ok(guard_host::answer(
        200,
        GATE,
        "application/json",
        &rule.list(allowed(rule, headers)?),
    ))
}
