//! The built-in kinds. Every recogniser is given a view and the place of its trigger and reports spans; it looks back
//! no further than `LOOK_BACK` bytes and ahead no further than the longest match of its kind.

pub mod digits;
pub mod email;
pub mod ip;
pub mod numbers;
pub mod secret;
pub mod tables;

/// How many bytes before a match may decide about it (an e-mail's local part, "version " before an address).
pub const LOOK_BACK: usize = 160;

/// A span that a rule matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}
