//! What the gateway keeps of a request: across its own redirect to a fallback route, and until its answer.
//!
//! A redirect runs the whole chain again, as a new stream of Envoy's with the same headers but no credential. What
//! outlives it is Envoy's filter state with the life span of the downstream request; no client and no provider can
//! write to that.

use proxy_wasm::hostcalls;

/// The property's name, also its name in the filter state (with Envoy's prefix `wasm.`).
const CONSUMER: &str = "opsta_ai_gateway_consumer";

/// The same, for as long as one pass through the chain lasts: Envoy's Wasm filters do not see a request's headers any
/// more once its answer is there.
const PERSON: &str = "opsta_ai_gateway_person";

/// Envoy's foreign function that gives a property a life span other than the filter chain's.
const DECLARE: &str = "declare_property";

/// Tells the host how long the consumer is to be kept. To be called once a filter, before [`keep`].
///
/// A host without the function makes `keep` end with the filter chain, and fallbacks refuse: that is not an error here.
pub fn declare() {
    let _ = hostcalls::call_foreign_function(DECLARE, Some(&declaration()));
}

/// Envoy's message `DeclarePropertyArguments`: `string name = 1; LifeSpan span = 5` with `DownstreamRequest = 1`.
fn declaration() -> Vec<u8> {
    let mut message = vec![0x0a, CONSUMER.len() as u8];
    message.extend_from_slice(CONSUMER.as_bytes());
    message.extend_from_slice(&[0x28, 1]);
    message
}

/// Keeps the consumer for as long as the client's request lasts.
pub fn keep(consumer: &[u8]) {
    let _ = hostcalls::set_property(vec![CONSUMER], Some(consumer));
}

/// The consumer that was kept before a redirect; none on a client's own request.
pub fn kept() -> Option<Vec<u8>> {
    value(CONSUMER)
}

/// Notes who the request is from.
pub fn note(consumer: &str) {
    let _ = hostcalls::set_property(vec![PERSON], Some(consumer.as_bytes()));
}

/// Who was noted on this pass through the chain.
pub fn noted() -> Option<Vec<u8>> {
    value(PERSON)
}

fn value(name: &str) -> Option<Vec<u8>> {
    let value = hostcalls::get_property(vec![name]).ok().flatten()?;
    (!value.is_empty()).then_some(value)
}
