//! A streamed answer: server-sent events of any of the dialects, each forwarded as soon as it is complete. A delta's text
//! that a rule may still match waits in its channel and goes out with the next delta, or in an event of its own before
//! the event that ends the channel. Whatever is not changed goes on byte for byte.

use crate::body::{apply, leaf_edits, Buffers};
use crate::bytes::sub;
use crate::fold::{self, Mapped};
use crate::json::{walk, Leaf, Role, Shape, Step};
use crate::session::{Channel, Edit, Masker};

/// Members of an event that tell its channel from others.
const PLACES: [&str; 4] = ["index", "output_index", "content_index", "summary_index"];

/// A streamed answer in progress.
#[derive(Debug, Default)]
pub struct Events {
    waiting: Vec<u8>,
    channels: Vec<Open>,
    buffers: Buffers,
    mapped: Mapped,
    dialect: Dialect,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Dialect {
    #[default]
    Chat,
    Messages,
    Responses,
}

#[derive(Debug)]
struct Open {
    // Which of an answer's parts (a choice, a content block), and which of its fields.
    part: String,
    field: String,
    channel: Channel,
    // An event that carries the waiting text: what stands before and after it.
    head: Vec<u8>,
    tail: Vec<u8>,
}

// A leaf with the way to it written out: `choices.0.delta.content`.
struct Placed {
    path: String,
    leaf: Leaf,
}

impl Events {
    /// Takes the next bytes of the answer and gives what goes on. `last`: no more will come.
    pub fn push(&mut self, masker: &mut Masker, bytes: &[u8], last: bool, limit: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        if self.ended {
            return out;
        }
        let mut searched = self.waiting.len().saturating_sub(3);
        self.waiting.extend_from_slice(bytes);
        let waiting = core::mem::take(&mut self.waiting);
        let mut taken = 0;
        while let Some(end) = event_end(&waiting, searched) {
            self.event(masker, sub(&waiting, taken, end), &mut out);
            taken = end;
            searched = end;
            if self.refused(masker, &mut out) {
                return out;
            }
        }
        self.waiting = match taken {
            // An event that comes in many pieces is not copied with each of them.
            0 => waiting,
            _ => sub(&waiting, taken, waiting.len()).to_vec(),
        };
        if last {
            let rest = core::mem::take(&mut self.waiting);
            if !rest.is_empty() {
                self.event(masker, &rest, &mut out);
            }
            self.flush(masker, &mut out, |_| true);
            self.refused(masker, &mut out);
        } else if self.waiting.len() > limit {
            self.ended = true;
            self.waiting = Vec::new();
            out.extend_from_slice(&self.error(
                "An event of the answer is too long to be masked.",
                "body_too_large",
            ));
        }
        out
    }

    // A rule blocks the answer: it ends here.
    fn refused(&mut self, masker: &Masker, out: &mut Vec<u8>) -> bool {
        let Some(rule) = masker.session.blocked().and_then(|r| masker.engine.rule(r)) else {
            return false;
        };
        let message = format!(
            "The answer held data that rule {} of this Project blocks. It ends here.",
            rule.name
        );
        out.extend_from_slice(&self.error(&message, "answer_blocked"));
        self.ended = true;
        true
    }

    fn error(&self, message: &str, code: &str) -> Vec<u8> {
        let error = format!(
            "{{\"message\":\"{message}\",\"type\":\"policy_error\",\"code\":\"{code}\",\"param\":null,\"gate\":\"data-masking\"}}"
        );
        match self.dialect {
            Dialect::Chat => format!("data: {{\"error\":{error}}}\n\ndata: [DONE]\n\n"),
            Dialect::Messages => format!("event: error\ndata: {{\"type\":\"error\",\"error\":{error}}}\n\n"),
            Dialect::Responses => format!(
                "event: error\ndata: {{\"type\":\"error\",\"code\":\"{code}\",\"message\":\"{message}\",\"param\":null}}\n\n"
            ),
        }
        .into_bytes()
    }

    fn event(&mut self, masker: &mut Masker, event: &[u8], out: &mut Vec<u8>) {
        let Some((start, end)) = data_line(event) else {
            // A comment, or data over several lines, which no provider sends: its lines are masked one by one.
            out.extend_from_slice(&self.plain_lines(masker, event));
            return;
        };
        let data = sub(event, start, end);
        if data == b"[DONE]" {
            self.flush(masker, out, |_| true);
            out.extend_from_slice(event);
            return;
        }
        let mut placed = Vec::with_capacity(24);
        let walked = walk(data, false, &mut |leaf, path| {
            placed.push(Placed {
                path: written(path),
                leaf,
            })
        });
        if walked.is_err() {
            out.extend_from_slice(&self.plain_lines(masker, event));
            return;
        }
        let edits = self.document(masker, event, (start, end), &placed, out);
        if edits.is_empty() {
            out.extend_from_slice(event);
        } else {
            out.extend_from_slice(sub(event, 0, start));
            out.extend_from_slice(&apply(data, &edits));
            out.extend_from_slice(sub(event, end, event.len()));
        }
    }

    fn plain_lines(&mut self, masker: &mut Masker, event: &[u8]) -> Vec<u8> {
        let edits = masker.edits(event, fold::Decode::Fold, &mut self.mapped);
        apply(event, &edits)
    }

    // One event's document: its deltas go through their channels, its other texts are whole.
    fn document(
        &mut self,
        masker: &mut Masker,
        event: &[u8],
        (start, end): (usize, usize),
        placed: &[Placed],
        out: &mut Vec<u8>,
    ) -> Vec<Edit> {
        let data = sub(event, start, end);
        let kind = member(data, placed, "type").unwrap_or_default();
        let chat = placed.iter().any(|p| p.path.starts_with("choices"));
        self.dialect = match chat {
            true => Dialect::Chat,
            false if kind.starts_with("response.") => Dialect::Responses,
            false if kind.is_empty() => self.dialect,
            false => Dialect::Messages,
        };
        let top = part_of(data, placed, "");
        if !chat && ends_part(&kind) {
            self.flush(masker, out, |open| {
                ends_all(&kind) || open.part == top || output(&open.part) == output(&top)
            });
        }
        // A choice that ends in this event.
        for finished in placed.iter().filter(|p| p.path.ends_with(".finish_reason")) {
            let part = part_of(data, placed, &finished.path);
            let same = |p: &Placed| is_delta(p) && part_of(data, placed, &p.path) == part;
            let here: Vec<String> = placed
                .iter()
                .filter(|p| same(p))
                .map(|p| field_of(data, placed, &p.path))
                .collect();
            self.flush(masker, out, |open| {
                open.part == part && !here.contains(&open.field)
            });
        }
        masker.session.counting(!(self.dialect == Dialect::Responses));
        let mut edits = Vec::new();
        for place in placed {
            if !is_delta(place) {
                leaf_edits(masker, data, place.leaf, &mut self.buffers, &mut edits);
                continue;
            }
            masker.session.counting(true);
            let edit = self.delta(masker, event, (start, end), placed, place, &kind, out);
            edits.extend(edit);
            masker.session.counting(!(self.dialect == Dialect::Responses));
        }
        masker.session.counting(true);
        edits
    }

    #[allow(clippy::too_many_arguments)]
    fn delta(
        &mut self,
        masker: &mut Masker,
        event: &[u8],
        (start, end): (usize, usize),
        placed: &[Placed],
        place: &Placed,
        kind: &str,
        out: &mut Vec<u8>,
    ) -> Option<Edit> {
        let data = sub(event, start, end);
        let raw = sub(data, place.leaf.start, place.leaf.end);
        let part = part_of(data, placed, &place.path);
        let field = if kind.starts_with("response.") {
            kind.to_owned()
        } else {
            field_of(data, placed, &place.path)
        };
        let piece = fold::unescape(raw);
        if !piece.is_empty() {
            // The model has gone on to another field: what waits in the one before is complete.
            let first = |f: &str| f.split('.').nth(1).unwrap_or("").to_owned();
            self.flush(masker, out, |open| {
                open.part == part && first(&open.field) != first(&field)
            });
        }
        let prefix = choice_prefix(&place.path);
        let last = placed
            .iter()
            .any(|p| prefix.is_some_and(|c| p.path == format!("{c}.finish_reason")));
        let json = place.leaf.role == Role::Arguments || kind.contains("arguments");
        let i = self.open(&part, &field, json);
        let open = self.channels.get_mut(i)?;
        let text = open.channel.push(masker, &piece, last, &mut self.mapped);
        if open.channel.waiting() {
            (open.head, open.tail) = match prefix {
                Some(prefix) => chat_envelope(data, placed, prefix, place),
                None => (
                    sub(event, 0, start + place.leaf.start).to_vec(),
                    sub(event, start + place.leaf.end, event.len()).to_vec(),
                ),
            };
        }
        if text == piece {
            return None;
        }
        let mut escaped = String::with_capacity(text.len() + 8);
        fold::escape(&text, &mut escaped);
        Some(Edit {
            start: place.leaf.start,
            end: place.leaf.end,
            text: escaped,
        })
    }

    fn open(&mut self, part: &str, field: &str, json: bool) -> usize {
        let known = self
            .channels
            .iter()
            .position(|o| o.part == part && o.field == field);
        known.unwrap_or_else(|| {
            let channel = Channel::new(json);
            let (part, field) = (part.to_owned(), field.to_owned());
            self.channels.push(Open {
                part,
                field,
                channel,
                head: Vec::new(),
                tail: Vec::new(),
            });
            self.channels.len() - 1
        })
    }

    // Lets go what waits in the chosen channels, each in an event of its own.
    fn flush(&mut self, masker: &mut Masker, out: &mut Vec<u8>, chosen: impl Fn(&Open) -> bool) {
        for open in self
            .channels
            .iter_mut()
            .filter(|o| o.channel.waiting() && chosen(o))
        {
            let text = open.channel.push(masker, "", true, &mut self.mapped);
            let mut escaped = String::new();
            fold::escape(&text, &mut escaped);
            out.extend_from_slice(&open.head);
            out.extend_from_slice(escaped.as_bytes());
            out.extend_from_slice(&open.tail);
        }
    }
}

// One past the blank line that ends the first event at or after `from`.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut i = from;
    while let Some(offset) = sub(bytes, i, bytes.len()).iter().position(|&b| b == b'\n') {
        i += offset + 1;
        match sub(bytes, i, i + 2) {
            [b'\n', ..] => return Some(i + 1),
            [b'\r', b'\n'] => return Some(i + 2),
            _ => {}
        }
    }
    None
}

// Where the content of the event's only `data:` line lies.
fn data_line(event: &[u8]) -> Option<(usize, usize)> {
    let mut found = None;
    let mut start = 0;
    for line in event.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"data:") {
            if found.is_some() {
                return None;
            }
            let trimmed = line.strip_suffix(b"\n").unwrap_or(line);
            let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
            let skip = if trimmed.get(5) == Some(&b' ') { 6 } else { 5 };
            found = Some((start + skip, start + trimmed.len()));
        }
        start += line.len();
    }
    found
}

fn written(path: &[Step]) -> String {
    let mut text = String::with_capacity(32);
    for step in path {
        if !text.is_empty() {
            text.push('.');
        }
        match step {
            Step::Key(key) => text.push_str(&String::from_utf8_lossy(key)),
            Step::Index(i) => text.push_str(&i.to_string()),
        }
    }
    text
}

fn is_delta(p: &Placed) -> bool {
    let text = p.leaf.shape == Shape::String && p.leaf.role != Role::Protocol;
    let delta = p.path == "delta" || p.path.starts_with("delta.") || p.path.contains(".delta.");
    let completion =
        p.path.ends_with(".text") && choice_prefix(&p.path).is_some_and(|c| p.path.len() == c.len() + 5);
    text && !p.path.ends_with(".name") && (delta || completion)
}

// `choices.N` of a path within a choice.
fn choice_prefix(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("choices.")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    path.get(.."choices.".len() + digits)
}

fn value<'d>(data: &'d [u8], p: &Placed) -> std::borrow::Cow<'d, str> {
    String::from_utf8_lossy(sub(data, p.leaf.start, p.leaf.end))
}

fn member(data: &[u8], placed: &[Placed], path: &str) -> Option<String> {
    placed
        .iter()
        .find(|p| p.path == path)
        .map(|p| value(data, p).into_owned())
}

// The part of the answer that a path belongs to: its choice's index, or the event's own indexes.
fn part_of(data: &[u8], placed: &[Placed], path: &str) -> String {
    if let Some(prefix) = choice_prefix(path) {
        let index = member(data, placed, &format!("{prefix}.index"));
        return format!("choice {}", index.unwrap_or_else(|| prefix.to_owned()));
    }
    let place = |name: &&str| member(data, placed, name).unwrap_or_default();
    PLACES.iter().map(place).collect::<Vec<_>>().join("/")
}

fn output(part: &str) -> Option<&str> {
    part.split('/').nth(1).filter(|o| !o.is_empty())
}

// The field within its part: `content`, `tool_calls.1.function.arguments`; an element of a list goes by its `index`.
fn field_of(data: &[u8], placed: &[Placed], path: &str) -> String {
    let outer = choice_prefix(path).unwrap_or("");
    let mut way = outer.to_owned();
    let mut field = String::new();
    for step in path
        .get(outer.len()..)
        .unwrap_or("")
        .split('.')
        .filter(|s| !s.is_empty())
    {
        if !way.is_empty() {
            way.push('.');
        }
        way.push_str(step);
        if step == "delta" {
            continue;
        }
        let index = step
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| member(data, placed, &format!("{way}.index")));
        field.push('.');
        field.push_str(&index.flatten().unwrap_or_else(|| step.to_owned()));
    }
    field
}

fn ends_part(kind: &str) -> bool {
    kind.ends_with(".done") || kind == "content_block_stop" || ends_all(kind)
}

fn ends_all(kind: &str) -> bool {
    matches!(
        kind,
        "message_delta"
            | "message_stop"
            | "error"
            | "response.completed"
            | "response.incomplete"
            | "response.failed"
    )
}

// A chunk of the same answer that carries only this field's text.
fn chat_envelope(data: &[u8], placed: &[Placed], prefix: &str, place: &Placed) -> (Vec<u8>, Vec<u8>) {
    let mut head = String::from("data: {");
    for p in placed.iter().filter(|p| !p.path.contains('.')) {
        let raw = value(data, p);
        match p.leaf.shape {
            Shape::Number => head.push_str(&format!("\"{}\":{raw},", p.path)),
            _ => head.push_str(&format!("\"{}\":\"{raw}\",", p.path)),
        }
    }
    let index = |path: &str| member(data, placed, &format!("{path}.index")).unwrap_or_else(|| "0".to_owned());
    head.push_str(&format!("\"choices\":[{{\"index\":{},", index(prefix)));
    let mut tail = String::new();
    let mut at = prefix.to_owned();
    let steps = place.path.get(prefix.len() + 1..).unwrap_or("");
    for step in steps.split('.') {
        at = format!("{at}.{step}");
        if step.bytes().all(|b| b.is_ascii_digit()) {
            // An element of a list, such as a tool call, goes by its index.
            head.push_str(&format!("[{{\"index\":{},", index(&at)));
            tail.insert_str(0, "}]");
            continue;
        }
        if head.ends_with(':') {
            head.push('{');
            tail.insert(0, '}');
        }
        head.push_str(&format!("\"{step}\":"));
    }
    head.push('"');
    (
        head.into_bytes(),
        format!("\"{tail},\"finish_reason\":null}}]}}\n\n").into_bytes(),
    )
}
