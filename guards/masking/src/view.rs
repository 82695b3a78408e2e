//! What a recogniser sees: a text, and whether more of it may come.

use crate::bytes::at;
use core::cell::Cell;

/// A text under scan. A recogniser reads ahead through `ahead`, which notes when its decision depends on bytes that
/// have not arrived yet: from there on the text is open and a stream holds it back.
pub struct View<'t> {
    /// All bytes so far.
    pub text: &'t [u8],
    /// True when no more will come.
    pub whole: bool,
    open: Cell<usize>,
}

impl<'t> View<'t> {
    /// A view of `text`; `whole` says that nothing follows.
    pub fn new(text: &'t [u8], whole: bool) -> Self {
        View {
            text,
            whole,
            open: Cell::new(usize::MAX),
        }
    }

    /// The byte at `i` for a candidate that starts at `start`; 0 past the end.
    #[inline(always)]
    pub fn ahead(&self, i: usize, start: usize) -> u8 {
        if i >= self.text.len() {
            self.hold(start);
        }
        at(self.text, i)
    }

    /// What starts at `start` cannot be decided yet.
    #[inline]
    pub fn hold(&self, start: usize) {
        if !self.whole && start < self.open.get() {
            self.open.set(start);
        }
    }

    /// Where the undecided part begins; the length of the text when all is decided.
    pub fn open_from(&self) -> usize {
        self.open.get().min(self.text.len())
    }
}
