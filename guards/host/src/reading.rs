//! A guard that reads a request's headers and its whole body, and nothing of the answer.

use crate::{expect_body, refuse, rule, settle, trailers, whole_body, Headers};
use guard_core::refusal::Refusal;
use guard_core::rules::Rules;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;

/// What such a guard does with a request.
pub trait Reads {
    /// What the config says for a request.
    type Rule;
    /// The gate's name.
    const GATE: &'static str;

    /// The longest body that is read.
    fn limit(rule: &Self::Rule) -> usize;

    /// What becomes of the request by its headers alone; none when its body has to be read.
    ///
    /// # Errors
    /// The refusal meant for it.
    fn by_headers(
        rule: &Self::Rule,
        headers: &Headers,
        end_of_stream: bool,
    ) -> Result<Option<Action>, Refusal>;

    /// Reads the whole body.
    ///
    /// # Errors
    /// The refusal meant for the request.
    fn by_body(rule: &Self::Rule, headers: &Headers, body: &[u8]) -> Result<(), Refusal>;
}

/// One request before such a guard.
pub struct Request<G: Reads> {
    rules: Option<Rc<Rules<G::Rule>>>,
    /// The rule and what the request began with, for as long as the body is awaited.
    awaited: Option<(Rc<G::Rule>, Headers)>,
}

impl<G: Reads> Request<G> {
    /// Under a guard's rules; without a valid config there are none.
    pub fn new(rules: Option<Rc<Rules<G::Rule>>>) -> Self {
        Request { rules, awaited: None }
    }

    fn begin(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(rule) = rule(G::GATE, self.rules.as_deref())? else {
            return Ok(Action::Continue);
        };
        let headers = Headers::of_request();
        if let Some(action) = G::by_headers(&rule, &headers, end_of_stream)? {
            return Ok(action);
        }
        let action = expect_body(G::GATE, &headers, G::limit(&rule), end_of_stream);
        self.awaited = Some((rule, headers));
        action
    }

    fn read(&mut self, size: usize, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some((rule, headers)) = &self.awaited else {
            return Ok(Action::Continue);
        };
        let Some(body) = whole_body(G::GATE, G::limit(rule), size, end_of_stream)? else {
            return Ok(Action::Pause);
        };
        G::by_body(rule, headers, &body)?;
        self.awaited = None;
        Ok(Action::Continue)
    }
}

impl<G: Reads> Context for Request<G> {}

impl<G: Reads> HttpContext for Request<G> {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        settle(self.begin(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        settle(self.read(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if self.awaited.is_none() {
            return Action::Continue;
        }
        refuse(&trailers(G::GATE))
    }
}
