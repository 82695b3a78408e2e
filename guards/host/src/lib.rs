//! What every guard asks of its Wasm host. Nothing here panics on what a client sends.

mod reading;

pub use reading::{Reads, Request};

use guard_core::refusal::Refusal;
use guard_core::rules::{Found, Rules, Target};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

/// A guard's filter: its config and what handles one request.
pub struct Root<C: 'static> {
    parse: fn(&[u8]) -> Result<C, String>,
    request: fn(Option<Rc<C>>) -> Box<dyn HttpContext>,
    config: Option<Rc<C>>,
}

impl<C: 'static> Root<C> {
    /// From how the config is read and how a request is handled. Without a valid config a request gets none.
    pub fn boxed(
        parse: fn(&[u8]) -> Result<C, String>,
        request: fn(Option<Rc<C>>) -> Box<dyn HttpContext>,
    ) -> Box<dyn RootContext> {
        Box::new(Root {
            parse,
            request,
            config: None,
        })
    }
}

impl<C> Context for Root<C> {}

impl<C> RootContext for Root<C> {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX);
        match (self.parse)(&config.ok().flatten().unwrap_or_default()) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(reason) => {
                self.config = None;
                log(LogLevel::Critical, &format!("config refused: {reason}"));
            }
        }
        self.config.is_some()
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some((self.request)(self.config.clone()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Writes to the host's log.
pub fn log(level: LogLevel, message: &str) {
    let _ = hostcalls::log(level, message);
}

/// A property of the request, empty when there is none.
pub fn property(path: &[&str]) -> String {
    let value = hostcalls::get_property(path.to_vec())
        .ok()
        .flatten()
        .unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

thread_local! {
    /// Whether the host tells names under `xds`: known once it did.
    static NESTED: Cell<bool> = const { Cell::new(false) };
}

/// The name of the request's route or cluster: Higress's host tells it at the top, stock Envoy under `xds`.
pub fn named(what: &str) -> String {
    let nested = NESTED.get();
    for under_xds in [nested, !nested] {
        let name = match under_xds {
            true => property(&["xds", what]),
            false => property(&[what]),
        };
        if !name.is_empty() {
            NESTED.set(under_xds);
            return name;
        }
    }
    String::new()
}

/// The headers of a request or an answer, asked for once.
#[derive(Debug)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Those of the request as they are now.
    pub fn of_request() -> Self {
        Headers(hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default())
    }

    /// Those of the answer as they are now.
    pub fn of_response() -> Self {
        Headers(hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default())
    }

    /// Every name in order, as often as it is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Every value of a name.
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The first value of a name as text, none when it is not there.
    pub fn first(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// The same, empty when it is not there.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        self.first(name).unwrap_or_default()
    }
}

/// A request header as text, none when it is not there.
pub fn request_header(name: &str) -> Option<String> {
    header(MapType::HttpRequestHeaders, name)
}

/// A response header as text, none when it is not there.
pub fn response_header(name: &str) -> Option<String> {
    header(MapType::HttpResponseHeaders, name)
}

fn header(map: MapType, name: &str) -> Option<String> {
    let value = hostcalls::get_map_value_bytes(map, name).ok().flatten()?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// Puts one header in the place of all of that name.
pub fn set_request_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
}

/// Removes all headers of a name.
pub fn remove_request_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
}

/// Puts one header in the place of all of that name.
pub fn set_response_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
}

/// Removes all headers of a name.
pub fn remove_response_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpResponseHeaders, name);
}

/// The whole buffered request body.
pub fn request_body(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Puts bytes in the place of the body's first `end` bytes and says the new length.
/// False when the host does not do it.
pub fn replace_request_head(end: usize, bytes: &[u8], size: usize) -> bool {
    let done = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, end, bytes).is_ok();
    if done && request_header("content-length").is_some() {
        set_request_header("content-length", &(size - end + bytes.len()).to_string());
    }
    done
}

/// Answers in place of the provider.
pub fn answer(status: u32, gate: &str, content_type: &str, body: &[u8]) -> Action {
    let headers = vec![("content-type", content_type), ("x-gate", gate)];
    let _ = hostcalls::send_http_response(status, headers, Some(body));
    Action::Pause
}

/// Answers with an error object.
pub fn refuse(refusal: &Refusal) -> Action {
    answer(refusal.status, refusal.gate, "application/json", &refusal.body())
}

/// What becomes of the request, or the refusal that was meant for it.
pub fn settle(outcome: Result<Action, Refusal>) -> Action {
    outcome.unwrap_or_else(|refusal| refuse(&refusal))
}

/// The rule of the request; none when it is for another shard.
///
/// # Errors
/// 404 when no rule fits, 503 when there is no valid config.
pub fn rule<R>(gate: &'static str, rules: Option<&Rules<R>>) -> Result<Option<Rc<R>>, Refusal> {
    let rules = rules.ok_or_else(|| Refusal::misconfigured(gate))?;
    let host = if rules.by_host() {
        request_header(":authority").unwrap_or_default()
    } else {
        String::new()
    };
    let cluster = if rules.by_service() {
        named("cluster_name")
    } else {
        String::new()
    };
    match rules.find(Target {
        route: &named("route_name"),
        host: &host,
        cluster: &cluster,
    }) {
        Found::Rule(rule) => Ok(Some(rule.clone())),
        Found::Pass => Ok(None),
        Found::Deny => Err(Refusal::route_unknown(gate)),
    }
}

/// What can be told of a body from the headers alone.
///
/// # Errors
/// 415 when it is compressed, 413 when it says that it is too long, 400 when there is none.
pub fn expect_body(
    gate: &'static str,
    headers: &Headers,
    limit: usize,
    end_of_stream: bool,
) -> Result<Action, Refusal> {
    if end_of_stream {
        return Err(Refusal::malformed(gate, "there is none"));
    }
    let mut encodings = headers.values("content-encoding");
    if encodings.any(|value| !value.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::encoded(gate));
    }
    let lengths = headers.values("content-length");
    let declared = lengths.filter_map(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    if declared.max().is_some_and(|length| length > limit) {
        return Err(Refusal::too_large(gate, limit));
    }
    Ok(Action::Pause)
}

/// The body once it is whole.
///
/// # Errors
/// 413 as soon as it is too long.
pub fn whole_body(
    gate: &'static str,
    limit: usize,
    size: usize,
    end_of_stream: bool,
) -> Result<Option<Vec<u8>>, Refusal> {
    if size > limit {
        return Err(Refusal::too_large(gate, limit));
    }
    Ok(end_of_stream.then(|| request_body(size)))
}

/// Trailers end a body before it was seen to end, so it would go by unchecked.
pub fn trailers(gate: &'static str) -> Refusal {
    Refusal::malformed(gate, "trailers are not accepted")
}
