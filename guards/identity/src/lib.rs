//! The guard `identity`: strips what clients forge, tells refusals in one form, and says who a request is from.
#![allow(unsafe_code, missing_docs)] // the ABI's entry points, made by a macro

use guard_core::identity::{Entrance, Identity, Table, CONSUMER, GATE};
use guard_core::refusal::Refusal;
use guard_core::refused::{explain, Local, Outcome, FROM_PROVIDER};
use guard_core::rules::Rules;
use guard_host::Root;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Root::boxed(Identity::parse, |config| Box::new(Request { config, had_key: false, local: None })));
}}

const KEYS: [&str; 2] = ["authorization", "x-api-key"];

struct Request {
    config: Option<Rc<Identity>>,
    had_key: bool,
    /// Status and details of a local response whose body is awaited.
    local: Option<(u32, String)>,
}

impl Request {
    fn enter(&mut self, entrance: &Entrance) -> Result<Action, Refusal> {
        let mut last = String::new();
        for (name, _) in guard_host::request_headers() {
            self.had_key |= KEYS.contains(&name.as_str());
            if name != last && entrance.forged(&name) {
                guard_host::remove_request_header(&name);
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

fn assign(rules: &Rules<Table>) -> Result<Action, Refusal> {
    let Some(table) = guard_host::rule(GATE, Some(rules))? else {
        return Ok(Action::Continue);
    };
    let headers = guard_host::request_headers();
    let consumers: Vec<&[u8]> = headers
        .iter()
        .filter(|(name, _)| name == CONSUMER)
        .map(|(_, value)| value.as_slice())
        .collect();
    let person = table.person(&consumers)?;
    guard_host::set_request_header("x-dev-org", person.org);
    guard_host::set_request_header("x-dev-project", person.project);
    guard_host::set_request_header("x-dev-group", person.group);
    guard_host::set_request_header("x-dev-user", person.user);
    for key in KEYS {
        guard_host::remove_request_header(key);
    }
    Ok(Action::Continue)
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        guard_host::settle(match self.config.clone().as_deref() {
            None => Err(Refusal::misconfigured(GATE)),
            Some(Identity::Entrance(entrance)) => self.enter(entrance),
            Some(Identity::Assign(rules)) => assign(rules),
        })
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if !matches!(self.config.as_deref(), Some(Identity::Entrance(_))) {
            return Action::Continue;
        }
        let status = guard_host::response_header(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        if status < 400 || guard_host::response_header("x-gate").is_some() {
            return Action::Continue;
        }
        let details = guard_host::property(&["response", "code_details"]);
        if details == FROM_PROVIDER {
            return Action::Continue;
        }
        if !end_of_stream {
            self.local = Some((status, details));
            return Action::Pause;
        }
        match self.explained(status, &details, b"") {
            Outcome::Replace(refusal) => guard_host::refuse(&refusal),
            Outcome::Keep => Action::Continue,
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
            if let Outcome::Replace(refusal) = self.explained(status, &details, &body) {
                let body = refusal.body();
                if hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, &body).is_ok() {
                    guard_host::set_response_header("content-length", &body.len().to_string());
                    guard_host::set_response_header("x-gate", refusal.gate);
                }
            }
            guard_host::set_response_header("content-type", "application/json");
        }
        Action::Continue
    }
}
