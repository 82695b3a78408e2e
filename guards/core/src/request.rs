//! A request body as every guard reads it: one object, no key that another reader could take for a second one.

use crate::json::{fold_key, scan, Malformed, Path, Str, Value, Visitor};
use std::ops::Range;

/// Keys that decide what a provider does. A lax reader takes `Stream` for `stream`; so only one spelling passes.
const KEYS: [&str; 15] = [
    "model",
    "stream",
    "stream_options",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "input",
    "instructions",
    "prompt",
    "suffix",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
];

/// Reads a request body.
///
/// # Errors
/// What [`scan`] refuses, a body that is not an object, and a key of [`KEYS`] in another spelling.
pub fn read(body: &[u8], visitor: &mut impl Visitor) -> Result<(), Malformed> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(Malformed {
            reason: "it is not an object",
            at: 0,
        });
    }
    let mut request = Request { visitor, odd: None };
    scan(body, &mut request)?;
    match request.odd {
        Some(at) => Err(Malformed {
            reason: "a key is not spelt in lower-case letters",
            at,
        }),
        None => Ok(()),
    }
}

struct Request<'v, V> {
    visitor: &'v mut V,
    odd: Option<usize>,
}

impl<V: Visitor> Visitor for Request<'_, V> {
    fn key(&mut self, path: &Path<'_>, key: Str<'_>) {
        if path.depth() == 1 && self.odd.is_none() && !key.plain_key() {
            let text = key.text();
            let folded = fold_key(&text);
            if folded != text && KEYS.contains(&folded.as_str()) {
                self.odd = Some(key.span().start);
            }
        }
        self.visitor.key(path, key);
    }

    fn value(&mut self, path: &Path<'_>, value: Value<'_>, span: Range<usize>) {
        self.visitor.value(path, value, span);
    }
}
