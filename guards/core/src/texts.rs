//! Every text of a request or an answer, with where it stands, for who reads or replaces texts.

use crate::json::{scan, Malformed, Path, Str, Value, Visitor};
use crate::request;
use std::ops::Range;

/// What a string is in an API's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Written by a person, a model or a tool. Whatever is not known to be something else is this.
    Prose,
    /// The key of an object: prose in tools' schemas and arguments, the API's own word elsewhere.
    Key,
    /// A word that the API itself acts on: a model, a role, a type, an id. Changing it breaks the message.
    Label,
    /// A picture, a sound or a file, encoded.
    Attachment,
}

/// One string.
#[derive(Debug, Clone, Copy)]
pub struct Text<'t> {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub path: &'t Path<'t>,
    /// The string: its span in the body, its decoded text.
    pub string: Str<'t>,
}

/// Visits every string of a request, in the order of the body.
///
/// # Errors
/// What [`request::read`] refuses.
pub fn of_request(body: &[u8], visit: impl FnMut(Text<'_>)) -> Result<(), Malformed> {
    request::read(body, &mut Strings { visit })
}

/// Visits every string of an answer, or of one event of a streamed answer.
///
/// # Errors
/// What [`scan`] refuses.
pub fn of_answer(json: &[u8], visit: impl FnMut(Text<'_>)) -> Result<(), Malformed> {
    scan(json, &mut Strings { visit })
}

struct Strings<F> {
    visit: F,
}

impl<F: FnMut(Text<'_>)> Visitor for Strings<F> {
    fn key(&mut self, path: &Path<'_>, key: Str<'_>) {
        (self.visit)(Text {
            kind: Kind::Key,
            path,
            string: key,
        });
    }

    fn value(&mut self, path: &Path<'_>, value: Value<'_>, _span: Range<usize>) {
        if let Value::String(string) = value {
            (self.visit)(Text {
                kind: kind(path, &string),
                path,
                string,
            });
        }
    }
}

/// Keys whose strings are the API's own words wherever they stand (chat completions, Responses, Messages).
const LABELS: [&str; 23] = [
    "id",
    "type",
    "role",
    "object",
    "model",
    "status",
    "stream",
    "finish_reason",
    "native_finish_reason",
    "stop_reason",
    "tool_call_id",
    "call_id",
    "tool_use_id",
    "item_id",
    "response_id",
    "previous_response_id",
    "signature",
    "encrypted_content",
    "media_type",
    "detail",
    "effort",
    "service_tier",
    "system_fingerprint",
];
/// Keys under which what people sent is passed on as an object of their own: no label in there.
const FREE: [&str; 5] = ["input", "arguments", "parameters", "input_schema", "schema"];
const ATTACHMENTS: [&str; 5] = ["data", "file_data", "b64_json", "image_url", "url"];
/// A shorter string under one of these keys is read as text: what it is, is told by its place alone.
pub(crate) const ATTACHMENT_BYTES: usize = 1_024;

/// What the string value at a path is.
pub fn kind(path: &Path<'_>, string: &Str<'_>) -> Kind {
    let Some(key) = path.nearest_key() else { return Kind::Prose };
    let long = string.raw().len() > ATTACHMENT_BYTES;
    if long && ATTACHMENTS.iter().any(|name| key.is(name)) && encoded(string.raw()) {
        return Kind::Attachment;
    }
    let label = LABELS.iter().any(|name| key.is(name));
    match label && !free(path) {
        true => Kind::Label,
        false => Kind::Prose,
    }
}

/// Whether a container on the way is somebody's own object: a tool's arguments, a schema. The field `input` of a
/// Responses request at the top is a list of messages.
fn free(path: &Path<'_>) -> bool {
    (2..path.depth()).any(|level| {
        path.key(level)
            .is_some_and(|key| FREE.iter().any(|name| key.is(name)))
    })
}

/// Base64 and data URLs have no spaces, prose does.
fn encoded(raw: &[u8]) -> bool {
    let sample = raw.get(..ATTACHMENT_BYTES).unwrap_or(raw);
    !sample
        .iter()
        .any(|byte| *byte == b' ' || *byte == b'\\' && !sample.starts_with(b"data:"))
}
