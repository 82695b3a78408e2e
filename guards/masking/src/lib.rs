//! Finds personal data and secrets in the text that a model's provider would read, and replaces it; puts values back
//! into answers. Pure: no host calls, no clock, no randomness. No input takes more than linear time: literals are one
//! set that is looked for in one pass, built-in kinds look a bounded distance around their trigger, and custom regexes are lazy DFAs of bounded length.

pub mod body;
mod bytes;
pub mod config;
mod custom;
pub mod engine;
pub mod fold;
pub mod json;
mod kinds;
mod literals;
pub mod session;
pub mod sse;
mod view;

pub use config::{Action, Refused, RulesSpec};
pub use engine::{Engine, Match, Scratch};
pub use kinds::Span;
pub use session::{Channel, Edit, Masker, Session, Side};
pub use view::View;
