//! The guard `identity`: strips what clients forge, tells refusals in one form, and says who a request is from.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

mod memory;
mod refusals;

use guard_core::identity::{Entrance, Identity, Source, Table, CONSUMER, GATE};
use guard_core::refusal::Refusal;
use guard_core::refused::{explain, Local, Outcome, FROM_PROVIDER};
use guard_core::rules::Rules;
use guard_core::shape::Shape;
use guard_host::{Headers, Root};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(parse, |config| Box::new(Request { config, had_key: false, local: None, counted: false })));
}}

fn parse(config: &[u8]) -> Result<Identity, String> {
    let identity = Identity::parse(config)?;
    if matches!(&identity, Identity::Assign(rules) if rules.all().any(|table| table.source() == Source::HeaderKept))
    {
        memory::declare();
    }
    Ok(identity)
}

/// Where a refusal says its gate.
const GATE_HEADER: &str = "x-gate";
const KEYS: [&str; 2] = ["authorization", "x-api-key"];

struct Request {
    config: Option<Rc<Identity>>,
    had_key: bool,
    /// Status and details of a local response whose body is awaited.
    local: Option<(u32, String)>,
    /// Its refusal is in the counters.
    counted: bool,
}

impl Request {
    fn enter(&mut self, entrance: &Entrance) -> Result<Action, Refusal> {
        let headers = Headers::of_request();
        // Asked for only where it makes a difference.
        let redirected = std::cell::LazyCell::new(|| memory::kept().is_some());
        let mut last = "";
        for name in headers.names() {
            self.had_key |= KEYS.contains(&name);
            if name != last && entrance.forged(name, || *redirected) {
                guard_host::remove_request_header(name);
            }
            last = name;
        }
        if guard_host::named("route_name").is_empty() {
            return Err(Refusal::route_unknown(GATE));
        }
        Ok(Action::Continue)
    }

    fn explained(&self, status: u32, details: &str, body: &[u8]) -> Outcome {
        let reset = ["x-ratelimit-reset", "x-tokenratelimit-reset", "retry-after"];
        let reset = reset
            .iter()
            .find_map(|name| guard_host::response_header(name)?.parse().ok());
        explain(&Local {
            status,
            details,
            body,
            had_key: self.had_key,
            reset,
        })
    }
}

impl Request {
    /// A refusal that is an error object already: its headers say the gate too.
    fn named(&mut self, gate: Option<&str>, status: u32) {
        if let Some(gate) = gate {
            guard_host::set_response_header(GATE_HEADER, gate);
        }
        self.count(gate.unwrap_or_default(), status);
    }

    /// A refusal in plain text: the error object in its place.
    fn retold(&mut self, refusal: &Refusal, size: usize) {
        let body = refusal.body();
        if hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, &body).is_ok() {
            guard_host::set_response_header("content-length", &body.len().to_string());
            guard_host::set_response_header(GATE_HEADER, refusal.gate);
        }
        self.count(refusal.gate, refusal.status);
    }

    fn count(&mut self, gate: &str, status: u32) {
        if !std::mem::replace(&mut self.counted, true) {
            let consumer = memory::noted().unwrap_or_default();
            refusals::count(gate, status, &String::from_utf8_lossy(&consumer));
        }
    }
}

fn assign(rules: &Rules<Table>, end_of_stream: bool) -> Result<Action, Refusal> {
    let Some(table) = guard_host::rule(GATE, Some(rules))? else {
        return Ok(Action::Continue);
    };
    let headers = Headers::of_request();
    let kept;
    let consumers: Vec<&[u8]> = match table.source() {
        Source::Kept => {
            kept = memory::kept();
            kept.iter().map(Vec::as_slice).collect()
        }
        Source::Header | Source::HeaderKept => headers.values(CONSUMER).collect(),
    };
    if let [consumer] = consumers.as_slice() {
        memory::note(&String::from_utf8_lossy(consumer));
    }
    let person = table.person(&consumers)?;
    match (table.source(), consumers.as_slice()) {
        (Source::HeaderKept, [consumer]) => memory::keep(consumer),
        (Source::Kept, [consumer]) => {
            guard_host::set_request_header(CONSUMER, &String::from_utf8_lossy(consumer));
        }
        _ => {}
    }
    guard_host::set_request_header("x-dev-org", person.org);
    guard_host::set_request_header("x-dev-project", person.project);
    guard_host::set_request_header("x-dev-group", person.group);
    guard_host::set_request_header("x-dev-user", person.user);
    for key in KEYS {
        if headers.names().any(|name| name == key) {
            guard_host::remove_request_header(key);
        }
    }
    if end_of_stream {
        without_body()?;
    }
    Ok(Action::Continue)
}

/// A request that ends with its headers announces no body: ai-data-masking would wait for it for ever.
fn without_body() -> Result<(), Refusal> {
    let header = |name| guard_host::request_header(name).unwrap_or_default();
    if header(":method") == "POST" && Shape::of(&header(":path")).has_body() {
        return Err(Refusal::malformed(GATE, "there is none"));
    }
    guard_host::remove_request_header("content-type");
    guard_host::remove_request_header("content-length");
    Ok(())
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        guard_host::settle(match self.config.clone().as_deref() {
            None => Err(Refusal::misconfigured(GATE)),
            Some(Identity::Entrance(entrance)) => self.enter(entrance),
            Some(Identity::Assign(rules)) => assign(rules, end_of_stream),
        })
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if !matches!(self.config.as_deref(), Some(Identity::Entrance(_))) {
            return Action::Continue;
        }
        let status = guard_host::response_header(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        if status < 400 {
            return Action::Continue;
        }
        let details = guard_host::property(&["response", "code_details"]);
        if details == FROM_PROVIDER {
            // Only gates of ours say that they are one.
            guard_host::remove_response_header(GATE_HEADER);
            return Action::Continue;
        }
        if let Some(gate) = guard_host::response_header(GATE_HEADER) {
            self.count(&gate, status);
            return Action::Continue;
        }
        if !end_of_stream {
            self.local = Some((status, details));
            return Action::Pause;
        }
        match self.explained(status, &details, b"") {
            Outcome::Replace(refusal) => {
                self.count(refusal.gate, status);
                guard_host::refuse(&refusal)
            }
            Outcome::Keep(_) => Action::Continue,
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.local.is_none() {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        if let Some((status, details)) = self.local.take() {
            let body = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size)
                .ok()
                .flatten()
                .unwrap_or_default();
            match self.explained(status, &details, &body) {
                Outcome::Keep(gate) => self.named(gate.as_deref(), status),
                Outcome::Replace(refusal) => self.retold(&refusal, size),
            }
            guard_host::set_response_header("content-type", "application/json");
        }
        Action::Continue
    }
}
