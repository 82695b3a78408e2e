//! The guard `prompt-guard`: refuses requests by their wording.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

use guard_core::prompts::{parse, PromptGuard, GATE};
use guard_core::refusal::Refusal;
use guard_core::shape::Shape;
use guard_host::{Headers, Reads, Request, Root};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(parse, |rules| Box::new(Request::<Wording>::new(rules))));
}}

struct Wording;

impl Reads for Wording {
    type Rule = PromptGuard;
    const GATE: &'static str = GATE;

    fn limit(rule: &PromptGuard) -> usize {
        rule.max_body_bytes
    }

    fn by_headers(
        _: &PromptGuard,
        headers: &Headers,
        end_of_stream: bool,
    ) -> Result<Option<Action>, Refusal> {
        let nothing_to_read = end_of_stream && Shape::of(&headers.text(":path")) == Shape::Models;
        Ok(nothing_to_read.then_some(Action::Continue))
    }

    fn by_body(rule: &PromptGuard, _: &Headers, body: &[u8]) -> Result<(), Refusal> {
        rule.check(body)
    }
}
