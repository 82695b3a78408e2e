//! The guard `model-allowlist`: answers `/v1/models`, refuses models, and chooses the route by the alias.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

use guard_core::allowlist::{model, parse, Allowlist, GATE};
use guard_core::json::Edits;
use guard_core::refusal::Refusal;
use guard_core::rules::Rules;
use guard_core::shape::Shape;
use guard_host::Root;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(parse, |rules| Box::new(Request { rules, rule: None })));
}}

/// The header that the routes of aliases match.
const ALIAS: &str = "x-higress-llm-model";

struct Request {
    rules: Option<Rc<Rules<Allowlist>>>,
    /// The rule, for as long as the body is awaited.
    rule: Option<Rc<Allowlist>>,
}

impl Request {
    fn begin(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(rule) = guard_host::rule(GATE, self.rules.as_deref())? else {
            return Ok(Action::Continue);
        };
        let path = guard_host::request_header(":path").unwrap_or_default();
        if Shape::of(&path) == Shape::Models {
            return list(&rule);
        }
        let action = guard_host::expect_body(GATE, rule.max_body_bytes, end_of_stream);
        self.rule = Some(rule);
        action
    }

    fn read(&mut self, size: usize, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(rule) = &self.rule else {
            return Ok(Action::Continue);
        };
        let Some(body) = guard_host::whole_body(GATE, rule.max_body_bytes, size, end_of_stream)? else {
            return Ok(Action::Pause);
        };
        let asked = model(&body)?;
        let workload = guard_host::request_header("workload");
        let alias = rule.decide(allowed(rule)?, workload.as_deref(), &asked.name)?;
        if alias != asked.name {
            let mut edits = Edits::default();
            edits.replace_text(asked.span, alias);
            let (end, head) = edits.head(&body);
            if !guard_host::replace_request_head(end, &head, size) {
                return Err(Refusal::misconfigured(GATE));
            }
        }
        guard_host::set_request_header(ALIAS, alias);
        self.rule = None;
        Ok(Action::Continue)
    }
}

fn allowed(rule: &Allowlist) -> Result<&[String], Refusal> {
    let header = |name| guard_host::request_header(name).unwrap_or_default();
    rule.models(&header("x-dev-project"), &header("x-dev-group"))
}

fn list(rule: &Allowlist) -> Result<Action, Refusal> {
    if guard_host::request_header(":method").as_deref() != Some("GET") {
        return Err(Refusal::route_unknown(GATE));
    }
    Ok(guard_host::answer(
        200,
        GATE,
        "application/json",
        &rule.list(allowed(rule)?),
    ))
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.begin(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.read(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if self.rule.is_none() {
            return Action::Continue;
        }
        guard_host::refuse(&guard_host::trailers(GATE))
    }
}
