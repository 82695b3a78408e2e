//! Server-sent events, however their bytes are cut into chunks.

use memchr::memchr2;

/// The longest event that is kept; a longer one is skipped to its end.
pub const MAX_EVENT: usize = 8 << 20;

/// Puts chunks together to events.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was `\r`, so a `\n` belongs to it.
    carriage: bool,
    started: bool,
    skipped: usize,
}

impl Reader {
    /// Takes a chunk and gives the data of every event that it completes.
    pub fn push(&mut self, chunk: &[u8], mut event: impl FnMut(&[u8])) {
        let mut rest = chunk;
        if self.carriage && !rest.is_empty() {
            self.carriage = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, b""));
            if self.line.is_empty() && self.fits(line) {
                self.line(line, &mut event);
            } else {
                self.keep(line);
                self.end_of_line(&mut event);
            }
            rest = match tail {
                [b'\r', b'\n', more @ ..] => more,
                [b'\r'] => {
                    self.carriage = true;
                    b""
                }
                [_, more @ ..] => more,
                [] => b"",
            };
        }
        self.keep(rest);
    }

    /// How many bytes of events were too long to be kept.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// What is left when the stream ends: a provider may leave out the last empty line.
    pub fn finish(&mut self, mut event: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end_of_line(&mut event);
        }
        self.dispatch(&mut event);
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        self.line.len() + self.data.len() + bytes.len() <= MAX_EVENT
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.fits(bytes) {
            self.line.extend_from_slice(bytes);
        } else {
            self.skipped += bytes.len();
        }
    }

    fn end_of_line(&mut self, event: &mut impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        self.line(&line, event);
        self.line = line;
        self.line.clear();
    }

    /// A whole line, without its end.
    fn line(&mut self, mut text: &[u8], event: &mut impl FnMut(&[u8])) {
        if !self.started {
            self.started = true;
            text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        }
        if text.is_empty() {
            self.dispatch(event);
        } else if let Some(value) = text.strip_prefix(b"data") {
            match value {
                [b':', b' ', value @ ..] | [b':', value @ ..] => self.add(value),
                [] => self.add(b""),
                _ => {}
            }
        }
    }

    fn add(&mut self, value: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, event: &mut impl FnMut(&[u8])) {
        if self.has_data {
            event(&self.data);
        }
        self.has_data = false;
        self.data.clear();
    }
}
