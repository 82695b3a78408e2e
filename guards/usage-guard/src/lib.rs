//! The guard `usage-guard`: makes streams carry usage, hides people from providers, and meters every answer once.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

mod counters;

use guard_core::refusal::Refusal;
use guard_core::refused::FROM_PROVIDER;
use guard_core::rules::Rules;
use guard_core::shape::Shape;
use guard_core::usage::{asked, parse, unseen, Answer, Asked, Booked, End, Metering, GATE};
use guard_host::{Headers, Root};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use std::rc::Rc;
use std::time::SystemTime;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(parse, |rules| Box::new(Request {
        rules, shape: Shape::Other, state: State::Idle, who: Who::default(), answer: None,
    })));
}}

/// What the provider must not learn, apart from `x-dev-*`.
const HIDDEN: [&str; 2] = ["x-mse-consumer", "accept-encoding"];

/// How far a request has come.
#[derive(Debug)]
enum State {
    /// Not ours, refused, or booked.
    Idle,
    /// Its body is awaited.
    Reading(Rc<Metering>),
    /// It is with the provider since then.
    Sent(Asked, SystemTime),
}

/// Whom it is booked on. Read while the request still says it.
#[derive(Debug, Default)]
struct Who {
    consumer: String,
    alias: String,
}

struct Request {
    rules: Option<Rc<Rules<Metering>>>,
    shape: Shape,
    state: State,
    who: Who,
    answer: Option<(u32, Answer)>,
}

fn now() -> SystemTime {
    hostcalls::get_current_time().unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Request {
    fn begin(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(rule) = guard_host::rule(GATE, self.rules.as_deref())? else {
            return Ok(Action::Continue);
        };
        let headers = Headers::of_request();
        self.shape = Shape::of(&headers.text(":path"));
        let action = guard_host::expect_body(GATE, &headers, rule.max_body_bytes, end_of_stream)?;
        self.who.consumer = headers.text("x-mse-consumer").into_owned();
        self.who.alias = headers.text("x-higress-llm-model").into_owned();
        for name in headers.names() {
            if HIDDEN.contains(&name) || name.starts_with("x-dev-") {
                guard_host::remove_request_header(name);
            }
        }
        self.state = State::Reading(rule);
        Ok(action)
    }

    fn read(&mut self, size: usize, end_of_stream: bool) -> Result<Action, Refusal> {
        let State::Reading(rule) = &self.state else {
            return Ok(Action::Continue);
        };
        let Some(body) = guard_host::whole_body(GATE, rule.max_body_bytes, size, end_of_stream)? else {
            return Ok(Action::Pause);
        };
        let mut asked = asked(self.shape, &body)?;
        let edits = std::mem::take(&mut asked.edits);
        if !edits.is_empty() {
            let (end, head) = edits.head(&body);
            if !guard_host::replace_request_head(end, &head, size) {
                return Err(Refusal::misconfigured(GATE));
            }
        }
        self.state = State::Sent(asked, now());
        Ok(Action::Continue)
    }

    fn answered(&mut self) {
        if !matches!(self.state, State::Sent(..)) {
            return;
        }
        if guard_host::property(&["response", "code_details"]) != FROM_PROVIDER {
            self.state = State::Idle;
            return;
        }
        let headers = Headers::of_response();
        let answer = Answer::new(&headers.text("content-type"), &headers.text("content-encoding"));
        self.answer = Some((headers.text(":status").parse().unwrap_or(0), answer));
    }

    /// Books the request, once.
    fn book(&mut self, end: End) {
        let State::Sent(asked, since) = std::mem::replace(&mut self.state, State::Idle) else { return };
        // Only what was cut short is estimated by the time it took.
        let elapsed = match end {
            End::Complete => 0,
            End::Cut => now().duration_since(since).unwrap_or_default().as_secs(),
        };
        let booked = match &mut self.answer {
            Some((status, answer)) => {
                answer.finish();
                if *status >= 400 && !answer.has_usage() {
                    return;
                }
                answer.book(self.shape, &asked, end, elapsed)
            }
            // The client went away before the first byte; the provider was at work all the same.
            None if !guard_host::property(&["upstream", "address"]).is_empty() => Booked {
                estimated_input: asked.input_estimate,
                estimated_output: unseen(&asked, elapsed),
                ..Booked::default()
            },
            None => return,
        };
        let named = self.answer.as_ref().and_then(|(_, answer)| answer.model());
        let alias = if self.who.alias.is_empty() {
            &asked.model
        } else {
            &self.who.alias
        };
        // Not earlier: stock Envoy tells the old route until the request is on its way.
        let place = counters::Place {
            route: guard_host::named("route_name"),
            cluster: guard_host::named("cluster_name"),
            consumer: &self.who.consumer,
        };
        counters::add(&place, named, alias, &booked);
    }
}

impl Context for Request {
    fn on_done(&mut self) -> bool {
        self.book(End::Cut);
        true
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.begin(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.read(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if !matches!(self.state, State::Reading(_)) {
            return Action::Continue;
        }
        guard_host::refuse(&guard_host::trailers(GATE))
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.answered();
        if end_of_stream {
            self.book(End::Complete);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let (State::Sent(..), Some((_, answer))) = (&self.state, &mut self.answer) {
            let chunk = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size)
                .ok()
                .flatten();
            answer.push(&chunk.unwrap_or_default());
            if end_of_stream {
                self.book(End::Complete);
            }
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.book(End::Complete);
        Action::Continue
    }
}
