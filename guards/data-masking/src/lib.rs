//! The guard `data-masking`: no text with personal data or secrets in it reaches a provider, and what was put in its
//! place becomes the value again in the answer.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

mod counters;
mod policy;

use guard_core::labels::Labels;
use guard_core::refusal::Refusal;
use guard_core::refused::FROM_PROVIDER;
use guard_core::shape::Shape;
use guard_host::{Headers, Root};
use masking::body;
use masking::fold::Decode;
use masking::sse::Events;
use masking::{Masker, Session, Side};
use policy::{Policies, Policy};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};
use std::rc::Rc;

const GATE: &str = "data-masking";

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(policy::parse, |policies| Box::new(Request {
        policies, policy: None, session: Session::default(), consumer: String::new(), reading: false, answer: Answer::Untouched,
    })));
}}

/// How an answer is read.
enum Answer {
    /// Not at all.
    Untouched,
    /// Once it is whole; `json` where its type says so.
    Whole { json: bool },
    /// Event by event.
    Events(Box<Events>),
}

struct Request {
    policies: Option<Rc<Policies>>,
    // The rules this request began under: it also ends under them.
    policy: Option<Rc<Policy>>,
    session: Session,
    consumer: String,
    reading: bool,
    answer: Answer,
}

fn blocked(policy: &Policy, session: &Session) -> Option<Refusal> {
    let rule = policy.engine.rule(session.blocked()?)?;
    let message = format!(
        "This request holds data that rule {} of your Project does not let out. Remove it and send the request again.",
        rule.name
    );
    Some(Refusal::new(403, GATE, "data_blocked", message).detail("rule", rule.name.as_str()))
}

fn answer_blocked(policy: &Policy, session: &Session) -> Option<Refusal> {
    let rule = policy.engine.rule(session.blocked()?)?;
    let message = format!(
        "The answer held data that rule {} of your Project blocks. Ask for it without that data.",
        rule.name
    );
    Some(Refusal::new(403, GATE, "answer_blocked", message).detail("rule", rule.name.as_str()))
}

fn unreadable(reason: &str) -> Refusal {
    let message = format!("The provider's answer cannot be masked: {reason}. Tell the operator.");
    Refusal::new(502, GATE, "answer_unreadable", message)
}

impl Request {
    fn begin(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(policy) = guard_host::rule(GATE, self.policies.as_deref())? else {
            return Ok(Action::Continue);
        };
        let policy = (*policy).clone().ok_or_else(|| Refusal::misconfigured(GATE))?;
        if policy.engine.idle() {
            return Ok(Action::Continue);
        }
        let headers = Headers::of_request();
        if end_of_stream && Shape::of(&headers.text(":path")) == Shape::Models {
            return Ok(Action::Continue);
        }
        let action = guard_host::expect_body(GATE, &headers, policy.engine.max_body_bytes, end_of_stream)?;
        if policy.engine.answers || policy.engine.restores() {
            // A compressed answer could not be read.
            guard_host::remove_request_header("accept-encoding");
        }
        self.consumer = headers.text("x-mse-consumer").into_owned();
        self.policy = Some(policy);
        self.reading = true;
        Ok(action)
    }

    fn read(&mut self, size: usize, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(policy) = self.policy.clone() else {
            return Ok(Action::Continue);
        };
        let Some(doc) = guard_host::whole_body(GATE, policy.engine.max_body_bytes, size, end_of_stream)?
        else {
            return Ok(Action::Pause);
        };
        self.reading = false;
        if simdutf8::basic::from_utf8(&doc).is_err() {
            return Err(Refusal::malformed(GATE, "it is not UTF-8"));
        }
        let masked = self.with_masker(&policy, Side::Request, &doc, |masker, buffers| {
            body::mask(masker, &doc, buffers)
        });
        let masked =
            masked.map_err(|at| Refusal::malformed(GATE, &format!("it is not JSON at byte {}", at.0)))?;
        if let Some(refusal) = blocked(&policy, &self.session) {
            return Err(refusal);
        }
        if let Some(head) = masked {
            if !guard_host::replace_request_head(head.end, &head.bytes, size) {
                return Err(Refusal::misconfigured(GATE));
            }
        }
        Ok(Action::Continue)
    }

    fn with_masker<T>(
        &mut self,
        policy: &Policy,
        side: Side,
        avoid: &[u8],
        work: impl FnOnce(&mut Masker, &mut body::Buffers) -> T,
    ) -> T {
        let memory = &mut *policy.memory.borrow_mut();
        let (scratch, buffers) = (&mut memory.0, &mut memory.1);
        work(
            &mut Masker {
                engine: &policy.engine,
                scratch,
                session: &mut self.session,
                side,
                avoid,
            },
            buffers,
        )
    }

    fn answered(&mut self, end_of_stream: bool) -> Result<Action, Refusal> {
        let Some(policy) = &self.policy else {
            return Ok(Action::Continue);
        };
        let wanted = policy.engine.answers || self.session.restores();
        if end_of_stream || !wanted || guard_host::property(&["response", "code_details"]) != FROM_PROVIDER {
            return Ok(Action::Continue);
        }
        let header = |name| {
            guard_host::response_header(name)
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        let kind = header("content-type");
        let stream = kind.starts_with("text/event-stream");
        let text = kind.is_empty() || kind.starts_with("text/") || kind.contains("json");
        if !text {
            return Ok(Action::Continue);
        }
        if !matches!(header("content-encoding").as_str(), "" | "identity") {
            return Err(unreadable("it is compressed"));
        }
        let _ = hostcalls::remove_map_value(MapType::HttpResponseHeaders, "content-length");
        if stream {
            self.answer = Answer::Events(Box::default());
            return Ok(Action::Continue);
        }
        self.answer = Answer::Whole {
            json: kind.contains("json"),
        };
        Ok(Action::Pause)
    }

    fn chunk(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(policy) = self.policy.clone() else {
            return Action::Continue;
        };
        let limit = policy.engine.max_body_bytes;
        let bytes = |size| {
            hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size)
                .ok()
                .flatten()
                .unwrap_or_default()
        };
        match core::mem::replace(&mut self.answer, Answer::Untouched) {
            Answer::Untouched => Action::Continue,
            Answer::Events(mut events) => {
                let chunk = bytes(size);
                let side = Side::Answer;
                let out = self.with_masker(&policy, side, b"", |masker, _| {
                    events.push(masker, &chunk, end_of_stream, limit)
                });
                if out != chunk && hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, &out).is_err()
                {
                    // Not let through as it is: the client sees a broken stream.
                    let _ = hostcalls::reset_http_response();
                }
                self.answer = Answer::Events(events);
                Action::Continue
            }
            answer @ Answer::Whole { .. } if !end_of_stream && size <= limit => {
                self.answer = answer;
                Action::Pause
            }
            Answer::Whole { json } => {
                let outcome = match size <= limit {
                    true => self.whole(&policy, &bytes(size), json),
                    false => Err(unreadable(&format!("it is over {limit} bytes"))),
                };
                match outcome {
                    Ok(None) => {}
                    Ok(Some(body)) => put_answer(size, &body),
                    Err(refusal) => {
                        guard_host::set_response_header(":status", &refusal.status.to_string());
                        guard_host::set_response_header("content-type", "application/json");
                        guard_host::set_response_header("x-gate", GATE);
                        put_answer(size, &refusal.body());
                    }
                }
                Action::Continue
            }
        }
    }

    fn whole(&mut self, policy: &Policy, doc: &[u8], json: bool) -> Result<Option<Vec<u8>>, Refusal> {
        let masked = self.with_masker(policy, Side::Answer, b"", |masker, buffers| {
            let document = if json {
                body::mask(masker, doc, buffers)
            } else {
                Err(masking::json::Malformed(0))
            };
            match document {
                Ok(head) => head.map(|head| head.whole(doc)),
                // An error page, or JSON that is none: a text.
                Err(_) => {
                    let edits = masker.edits(
                        doc,
                        Decode::UnescapeAndFold,
                        &mut masking::fold::Mapped::default(),
                    );
                    (!edits.is_empty()).then(|| body::apply(doc, &edits))
                }
            }
        });
        match answer_blocked(policy, &self.session) {
            Some(refusal) => Err(refusal),
            None => Ok(masked),
        }
    }
}

fn put_answer(size: usize, body: &[u8]) {
    if hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, body).is_err() {
        let _ = hostcalls::reset_http_response();
    }
}

impl Context for Request {
    fn on_done(&mut self) -> bool {
        if let Some(policy) = self.policy.take() {
            if self.session.counts().iter().any(|&count| count > 0) {
                // Not earlier: the route and the alias are chosen after this guard.
                let alias = guard_host::request_header("x-higress-llm-model").unwrap_or_default();
                let (route, cluster) = (guard_host::named("route_name"), guard_host::named("cluster_name"));
                let labels = Labels::new(&route, &cluster, &alias, &self.consumer);
                counters::add(&labels, policy.engine.rules(), self.session.counts());
            }
        }
        true
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.begin(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !self.reading {
            return Action::Continue;
        }
        guard_host::settle(self.read(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if !self.reading {
            return Action::Continue;
        }
        guard_host::refuse(&guard_host::trailers(GATE))
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        guard_host::settle(self.answered(end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.chunk(size, end_of_stream)
    }
}
