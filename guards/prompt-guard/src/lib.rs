//! The guard `prompt-guard`: refuses requests by their wording.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

use guard_core::prompts::{parse, PromptGuard, GATE};
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

struct Request {
    rules: Option<Rc<Rules<PromptGuard>>>,
    /// The rule, for as long as the body is awaited.
    rule: Option<Rc<PromptGuard>>,
}

impl Request {
    fn begin(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(rule) = guard_host::rule(GATE, self.rules.as_deref())? else {
            return Ok(Action::Continue);
        };
        let path = guard_host::request_header(":path").unwrap_or_default();
        if end_of_stream && Shape::of(&path) == Shape::Models {
            return Ok(Action::Continue);
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
        rule.check(&body)?;
        self.rule = None;
        Ok(Action::Continue)
    }
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
