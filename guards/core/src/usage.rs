//! What a request and its answer used: read where the provider says it, estimated where nobody does.
//!
//! Field names: OpenAI chat completions, completions, embeddings and Responses API references, Anthropic Messages API reference.
//! OpenAI counts cached input within the input, Anthropic apart from it.

use crate::json::{fold_key, scan, Edits, Path, Str, Value, Visitor};
use crate::likeness::Likeness;
use crate::refusal::Refusal;
use crate::request;
use crate::rules::Rules;
use crate::shape::Shape;
use crate::sse;
use crate::texts::{kind, Kind};
use serde::Deserialize;
use std::ops::Range;

/// This gate's name.
pub const GATE: &str = "usage-guard";

/// Bytes of text to a token. Measured averages are 3.5 to 4.5 for prose and code: an estimate that is too high, not too low.
const BYTES_PER_TOKEN: u64 = 3;
/// What a picture, a sound or a file is taken for, whatever its size.
const ATTACHMENT_TOKENS: u64 = 2_000;
/// No provider writes faster; what was written when the client went away unseen.
const TOKENS_PER_SECOND: u64 = 150;
/// A number beyond this is no count of tokens.
const ABSURD: u64 = 1 << 40;

/// One Project's rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metering {
    /// Whose requests these are; the routes say the same.
    pub project: String,
    /// The longest body that is read.
    pub max_body_bytes: usize,
}

/// Reads the config.
///
/// # Errors
/// In words, when it cannot be obeyed.
pub fn parse(config: &[u8]) -> Result<Rules<Metering>, String> {
    Rules::parse(config, &[])
}

/// What a request asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The model it names.
    pub model: String,
    /// Tokens of its texts, estimated.
    pub input_estimate: u64,
    /// The most tokens that it lets the provider write.
    pub output_limit: Option<u64>,
    /// What makes a stream carry usage.
    pub edits: Edits,
}

/// Reads a request body.
///
/// # Errors
/// 400 when it is malformed.
pub fn asked(shape: Shape, body: &[u8]) -> Result<Asked, Refusal> {
    let mut reader = RequestReader {
        choices: 1,
        ..RequestReader::default()
    };
    request::read(body, &mut reader).map_err(|malformed| Refusal::malformed(GATE, malformed.reason))?;
    if let Some(reason) = reader.odd {
        return Err(Refusal::malformed(GATE, reason).param("stream"));
    }
    let edits = if reader.stream && shape.usage_on_request() {
        reader.ask_for_usage(body)
    } else {
        Edits::default()
    };
    Ok(Asked {
        model: reader.model,
        input_estimate: reader.text_bytes.div_ceil(BYTES_PER_TOKEN) + reader.attachments * ATTACHMENT_TOKENS,
        output_limit: reader
            .output_limit
            .map(|limit| limit.saturating_mul(reader.choices.max(1))),
        edits,
    })
}

#[derive(Debug, Default)]
struct RequestReader {
    model: String,
    stream: bool,
    odd: Option<&'static str>,
    /// The value of `stream_options`, and whether it is an object with something in it.
    options: Option<(Range<usize>, Options)>,
    include_usage: Option<(Range<usize>, bool)>,
    output_limit: Option<u64>,
    choices: u64,
    text_bytes: u64,
    attachments: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Options {
    Scalar,
    Empty,
    Filled,
}

impl RequestReader {
    fn ask_for_usage(&self, body: &[u8]) -> Edits {
        let mut edits = Edits::default();
        match (&self.options, &self.include_usage) {
            (_, Some((_, true))) => {}
            (_, Some((span, false))) => edits.replace(span.clone(), *b"true"),
            (Some((span, Options::Scalar | Options::Empty)), None) => {
                edits.replace(span.clone(), *br#"{"include_usage":true}"#);
            }
            (Some((span, Options::Filled)), None) => {
                edits.replace(span.start + 1..span.start + 1, *br#""include_usage":true,"#);
            }
            (None, None) => {
                let open = body
                    .iter()
                    .position(|byte| *byte == b'{')
                    .map_or(0, |brace| brace + 1);
                edits.replace(open..open, *br#""stream_options":{"include_usage":true},"#);
            }
        }
        edits
    }

    fn top(&mut self, key: Str<'_>, value: &Value<'_>) {
        let limit = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .any(|name| key.is(name));
        match value {
            Value::String(text) if key.is("model") => self.model = text.text().into_owned(),
            Value::Bool(stream) if key.is("stream") => self.stream = *stream,
            Value::Null => {}
            _ if key.is("stream") => self.odd = Some("stream must be true or false"),
            Value::Number(digits) if limit => self.output_limit = count(digits).max(self.output_limit),
            Value::Number(digits) if key.is("n") => self.choices = count(digits).unwrap_or(1),
            _ => {}
        }
    }

    fn option(&mut self, path: &Path<'_>, value: &Value<'_>, span: Range<usize>) {
        if path.depth() == 1 {
            let kind = match (value, span.len()) {
                (Value::Open, _) => return,
                (Value::Close, _) => self.options.take().map_or(Options::Empty, |(_, kind)| kind),
                _ => Options::Scalar,
            };
            self.options = Some((span, kind));
        } else if path.depth() == 2 && !matches!(value, Value::Close) {
            self.options = Some((span.clone(), Options::Filled));
            if path.key(2).is_some_and(|key| key.is("include_usage")) {
                match value {
                    Value::Bool(wanted) => self.include_usage = Some((span, *wanted)),
                    Value::Open => self.odd = Some("stream_options.include_usage must be true or false"),
                    _ => self.include_usage = Some((span, false)),
                }
            }
        }
    }
}

impl Visitor for RequestReader {
    fn key(&mut self, path: &Path<'_>, key: Str<'_>) {
        self.text_bytes += key.raw().len() as u64;
        if path.depth() == 2 && path.starts(&["stream_options"]) {
            let text = key.text();
            let folded = fold_key(&text);
            if folded == "include_usage" && text != folded {
                self.odd = Some("stream_options.include_usage is not spelt in lower-case letters");
            }
        }
    }

    fn value(&mut self, path: &Path<'_>, value: Value<'_>, span: Range<usize>) {
        if let (1, Some(key)) = (path.depth(), path.key(1)) {
            self.top(key, &value);
        }
        if let Value::String(text) = &value {
            if kind(path, text) == Kind::Attachment {
                self.attachments += 1;
            } else {
                self.text_bytes += text.raw().len() as u64;
            }
        }
        if path.depth() <= 2 && path.starts(&["stream_options"]) {
            self.option(path, &value, span);
        }
    }
}

fn count(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let whole = text.parse::<u64>().ok().or_else(|| {
        let float = text.parse::<f64>().ok()?;
        // In range, so the cast keeps the number.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        (float.fract() == 0.0 && float >= 0.0 && float < ABSURD as f64).then_some(float as u64)
    });
    whole.filter(|number| *number < ABSURD)
}

/// Counts as the provider gave them; a later figure takes an earlier one's place.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Raw {
    prompt: Option<u64>,
    completion: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    cached_within: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    /// The output is the last word, not a stream's first figure.
    last_word: bool,
}

/// What is booked for one request, in tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// Input that no cache had.
    pub input: u64,
    /// Input read from the provider's cache.
    pub cache_read: u64,
    /// Input written to the provider's cache.
    pub cache_write: u64,
    /// Output.
    pub output: u64,
    /// Input, estimated because the provider did not say.
    pub estimated_input: u64,
    /// Output, estimated because the provider did not say.
    pub estimated_output: u64,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its last byte.
    Complete,
    /// Before it: client or provider went away.
    Cut,
}

/// Reads an answer as it goes by.
#[derive(Debug)]
pub struct Answer {
    form: Form,
    facts: Facts,
}

#[derive(Debug)]
enum Form {
    Stream(sse::Reader),
    Plain(Vec<u8>),
    /// It cannot be read: compressed against our wish, or too long. Its bytes are counted.
    Opaque(u64),
}

/// A plain answer longer than this is not kept.
const MAX_ANSWER: usize = 32 << 20;

#[derive(Debug, Default)]
struct Facts {
    raw: Raw,
    model: Option<String>,
    text_bytes: u64,
    pieces: u64,
    /// Text that came after the last usage.
    unbooked_bytes: u64,
    done: bool,
    last_event: Likeness,
}

impl Answer {
    /// From the answer's headers.
    pub fn new(content_type: &str, content_encoding: &str) -> Self {
        let form = if !content_encoding.is_empty() && !content_encoding.eq_ignore_ascii_case("identity") {
            Form::Opaque(0)
        } else if content_type
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("text/event-stream")
        {
            Form::Stream(sse::Reader::default())
        } else {
            Form::Plain(Vec::new())
        };
        Answer {
            form,
            facts: Facts::default(),
        }
    }

    /// Takes a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let facts = &mut self.facts;
        match &mut self.form {
            Form::Stream(reader) => reader.push(chunk, |data| facts.event(data)),
            Form::Plain(body) if body.len() + chunk.len() <= MAX_ANSWER => body.extend_from_slice(chunk),
            Form::Plain(body) => self.form = Form::Opaque((body.len() + chunk.len()) as u64),
            Form::Opaque(bytes) => *bytes += chunk.len() as u64,
        }
    }

    /// The model that the answer names.
    pub fn model(&self) -> Option<&str> {
        self.facts.model.as_deref()
    }

    /// The end: nothing more comes.
    pub fn finish(&mut self) {
        let facts = &mut self.facts;
        match &mut self.form {
            Form::Stream(reader) => reader.finish(|data| facts.event(data)),
            Form::Plain(body) => facts.whole(&std::mem::take(body)),
            Form::Opaque(_) => {}
        }
    }

    /// Whether the provider said what was used.
    pub fn has_usage(&self) -> bool {
        self.facts.raw.prompt.is_some() || self.facts.raw.input.is_some()
    }

    /// What to book, after [`Answer::finish`].
    pub fn book(&self, shape: Shape, asked: &Asked, end: End, elapsed_seconds: u64) -> Booked {
        let (facts, raw) = (&self.facts, &self.facts.raw);
        let mut booked = Booked::default();
        match (raw.prompt, raw.input) {
            (Some(prompt), _) => {
                booked.cache_read = raw.cached_within.or(raw.cache_read).unwrap_or(0).min(prompt);
                booked.cache_write = raw.cache_write.unwrap_or(0).min(prompt - booked.cache_read);
                booked.input = prompt - booked.cache_read - booked.cache_write;
            }
            (None, Some(input)) => {
                let within = raw.cached_within.unwrap_or(0).min(input);
                booked.input = input - within;
                booked.cache_read = raw.cache_read.unwrap_or(0) + within;
                booked.cache_write = raw.cache_write.unwrap_or(0);
            }
            (None, None) => booked.estimated_input = asked.input_estimate,
        }
        let said = raw.completion.or(raw.output).filter(|_| raw.last_word);
        match said {
            Some(output) => {
                booked.output = output;
                if end == End::Cut && !facts.done {
                    booked.estimated_output = facts.unbooked_bytes.div_ceil(BYTES_PER_TOKEN);
                }
            }
            None if shape == Shape::Embeddings => {}
            None => {
                booked.estimated_output = self
                    .estimate(asked, end, elapsed_seconds)
                    .max(raw.output.unwrap_or(0))
            }
        }
        booked
    }

    fn estimate(&self, asked: &Asked, end: End, elapsed_seconds: u64) -> u64 {
        let skipped = match &self.form {
            Form::Opaque(bytes) => *bytes,
            Form::Stream(reader) => reader.skipped() as u64,
            Form::Plain(_) => 0,
        };
        let seen = self
            .facts
            .text_bytes
            .div_ceil(BYTES_PER_TOKEN)
            .max(self.facts.pieces)
            + skipped;
        match end {
            End::Cut if seen == 0 => unseen(asked, elapsed_seconds),
            _ => seen,
        }
    }
}

/// What a provider can have written by the time the client went away, when nothing of it was seen.
pub fn unseen(asked: &Asked, elapsed_seconds: u64) -> u64 {
    (elapsed_seconds + 1)
        .saturating_mul(TOKENS_PER_SECOND)
        .min(asked.output_limit.unwrap_or(u64::MAX))
}

impl Facts {
    fn event(&mut self, data: &[u8]) {
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        if let Some(text) = self.last_event.text(data) {
            self.add(text.len() as u64);
            return;
        }
        let (read, only) = self.read(data, &["choices", "delta", "content_block"]);
        self.last_event.remember(data, only);
        // An event cut short was one piece of text at least.
        self.pieces += u64::from(!read);
    }

    fn whole(&mut self, body: &[u8]) {
        let (read, _) = self.read(body, &["choices", "output", "content"]);
        if !read && self.text_bytes == 0 {
            self.text_bytes = body.len() as u64;
        }
    }

    /// Takes from JSON what it says, as far as it goes. False when it is cut short or no JSON; and where its text
    /// stands when that is one string and there is no usage beside it.
    fn read(&mut self, json: &[u8], roots: &'static [&'static str]) -> (bool, Option<Range<usize>>) {
        let mut reader = AnswerReader {
            facts: self,
            roots,
            text: 0,
            texts: 0,
            last: 0..0,
            usage: false,
        };
        let read = scan(json, &mut reader).is_ok();
        let (text, usage) = (reader.text, reader.usage);
        let only = (read && !usage && reader.texts == 1).then(|| reader.last.clone());
        self.add(text);
        if usage {
            self.unbooked_bytes = 0;
        }
        (read, only)
    }

    /// Text of one event, or of a whole answer.
    fn add(&mut self, bytes: u64) {
        self.text_bytes += bytes;
        self.pieces += u64::from(bytes > 0);
        self.unbooked_bytes += bytes;
    }
}

struct AnswerReader<'f> {
    facts: &'f mut Facts,
    /// The fields of the outermost object under which the written text stands.
    roots: &'static [&'static str],
    text: u64,
    /// How many strings the model wrote, and where the last of them stands.
    texts: usize,
    last: Range<usize>,
    usage: bool,
}

impl AnswerReader<'_> {
    /// Whether the model wrote this string.
    fn written(&self, path: &Path<'_>, text: &Str<'_>) -> bool {
        let root = path
            .key(1)
            .is_some_and(|key| self.roots.iter().any(|root| key.is(root)));
        let likely = path.key(3).is_some_and(|key| key.is("logprobs"));
        root && !likely && matches!(kind(path, text), Kind::Prose | Kind::Key)
    }

    fn usage(&mut self, path: &Path<'_>, level: usize, digits: &[u8], streamed_start: bool) {
        let Some(number) = count(digits) else { return };
        let raw = &mut self.facts.raw;
        let Some(field) = path.key(path.depth()) else { return };
        let slot = match path.depth() - level {
            1 if field.is("prompt_tokens") => &mut raw.prompt,
            1 if field.is("completion_tokens") => &mut raw.completion,
            1 if field.is("input_tokens") => &mut raw.input,
            1 if field.is("output_tokens") => &mut raw.output,
            1 if field.is("cache_read_input_tokens") || field.is("prompt_cache_hit_tokens") => {
                &mut raw.cache_read
            }
            1 if field.is("cache_creation_input_tokens") => &mut raw.cache_write,
            2 if field.is("cached_tokens") => &mut raw.cached_within,
            _ => return,
        };
        *slot = Some(number);
        if field.is("completion_tokens") || field.is("output_tokens") {
            raw.last_word = !streamed_start;
        }
        self.usage = true;
    }
}

impl Visitor for AnswerReader<'_> {
    fn value(&mut self, path: &Path<'_>, value: Value<'_>, _span: Range<usize>) {
        let Some(first) = path.key(1) else { return };
        let within = first.is("response") || first.is("message");
        let (level, field) = if within {
            (2, path.key(2))
        } else {
            (1, Some(first))
        };
        let field_is = |name| field.is_some_and(|field| field.is(name));
        match &value {
            Value::Number(digits) if field_is("usage") && path.depth() > level => {
                self.usage(path, level, digits, first.is("message"));
            }
            Value::String(text) if path.depth() == level && field_is("model") => {
                let known = self.facts.model.as_deref();
                if !text.raw().is_empty() && !known.is_some_and(|known| text.is(known)) {
                    self.facts.model = Some(text.text().into_owned());
                }
            }
            Value::String(text) if path.depth() == 1 && first.is("type") => {
                self.facts.done |= text.is("message_stop") || text.is("response.completed");
            }
            Value::String(text) if self.written(path, text) => {
                self.text += text.raw().len() as u64;
                self.texts += 1;
                self.last = text.span();
            }
            _ => {}
        }
    }
}
