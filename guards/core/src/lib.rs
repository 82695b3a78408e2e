//! What the guards decide, without a Wasm host: tested natively.

pub mod allowlist;
pub mod identity;
pub mod json;
pub mod labels;
mod likeness;
pub mod normal;
pub mod prompts;
pub mod refusal;
pub mod refused;
pub mod request;
pub mod rules;
pub mod shape;
pub mod sse;
pub mod texts;
pub mod usage;
