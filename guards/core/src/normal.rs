//! One form for texts that people and models read as the same.
//!
//! Case, width and styled letters (Unicode NFKD), accents, look-alikes of Latin letters in Cyrillic and Greek, invisible characters
//! and runs of white space make no difference. Text hidden in tag characters, which models read and people do not
//! see, is collected apart.

use crate::json::{Chars, Piece};
use std::sync::OnceLock;
use unicode_normalization::char::decompose_compatible;

const SPACE: u8 = b' ';
/// So many bytes are looked at together: the compiler makes vector instructions of it.
const CHUNK: usize = 16;

/// Characters of the Basic Multilingual Plane that are their own normal form, a bit each. Nearly all of Thai, Chinese,
/// Arabic or Hindi is; to work that out for each character would be most of the cost of such a text.
struct Same([u64; 0x10000 / 64]);

impl Same {
    fn get() -> &'static Same {
        static SAME: OnceLock<Box<Same>> = OnceLock::new();
        SAME.get_or_init(|| Box::new(Same::new()))
    }

    fn new() -> Self {
        let mut same = Same([0; 0x10000 / 64]);
        for (place, word) in same.0.iter_mut().enumerate() {
            for bit in 0..64 {
                let c = u32::try_from(place * 64 + bit).ok().and_then(char::from_u32);
                if c.is_some_and(own_form) {
                    *word |= 1 << bit;
                }
            }
        }
        same
    }

    fn has(&self, code: usize) -> bool {
        self.0
            .get(code / 64)
            .is_some_and(|word| word >> (code % 64) & 1 == 1)
    }
}

/// Whether a character beyond ASCII is put down as it is.
fn own_form(c: char) -> bool {
    let mut normal = Normal::default();
    normal.char(c);
    !c.is_ascii() && normal.hidden.is_empty() && normal.out == c.encode_utf8(&mut [0; 4]).as_bytes()
}

/// The bits of a byte of a character that belong to its number.
fn bits(byte: u8, mask: u8) -> usize {
    usize::from(byte & mask)
}

/// How many bytes a character has that begins with this one.
fn utf8_length(lead: u8) -> usize {
    match lead {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2,
    }
}

/// The lower case of a chunk after the byte `before`, and how many bytes of it are the normal form.
/// Without a branch for a byte, and apart from what calls it, so that the compiler makes vector instructions of it.
#[inline(never)]
fn lower(chunk: &[u8; CHUNK], before: u8) -> ([u8; CHUNK], usize) {
    let mut shifted = [before; CHUNK];
    for (place, byte) in shifted.iter_mut().skip(1).zip(chunk) {
        *place = *byte;
    }
    let (mut low, mut special) = ([0u8; CHUNK], [0u8; CHUNK]);
    for (((low, special), &byte), last) in low.iter_mut().zip(&mut special).zip(chunk).zip(shifted) {
        let repeats = (byte == SPACE) & (last == SPACE);
        *low = byte.to_ascii_lowercase();
        *special = u8::from((byte == b'\\') | !(0x20..=0x7e).contains(&byte) | repeats);
    }
    (low, u128::from_le_bytes(special).trailing_zeros() as usize / 8)
}

/// To be called when there is time: makes the tables that the first text would otherwise wait for.
pub fn prepare() {
    Same::get();
}

/// Collects texts in their normal form.
#[derive(Debug, Default)]
pub struct Normal {
    out: Vec<u8>,
    hidden: String,
}

impl Normal {
    /// With room for a body's texts.
    pub fn with_capacity(bytes: usize) -> Self {
        Normal {
            out: Vec::with_capacity(bytes),
            hidden: String::new(),
        }
    }

    /// The texts so far. Valid UTF-8.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// How long they are.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// A byte as it is, between two texts.
    pub fn separate(&mut self, byte: u8) {
        self.ascii(byte);
    }

    /// Bytes that are in normal form already.
    pub fn again(&mut self, bytes: &[u8]) {
        let spaced = self.out.last() == Some(&SPACE);
        self.out
            .extend_from_slice(bytes.strip_prefix(b" ").filter(|_| spaced).unwrap_or(bytes));
    }

    /// What stood in tag characters since the last call.
    pub fn take_hidden(&mut self) -> String {
        std::mem::take(&mut self.hidden)
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.char(c);
        }
    }

    /// What stands between the quotes of a JSON string, escapes and all.
    pub fn json(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while !rest.is_empty() {
            // What is not there is like a backslash: it ends the stretch.
            let mut chunk = [b'\\'; CHUNK];
            match rest.first_chunk() {
                Some(whole) => chunk = *whole,
                None => chunk
                    .iter_mut()
                    .zip(rest)
                    .for_each(|(place, byte)| *place = *byte),
            }
            let (low, plain) = lower(&chunk, self.out.last().copied().unwrap_or_default());
            let length = self.out.len() + plain;
            self.out.extend_from_slice(&low);
            self.out.truncate(length);
            rest = rest.get(plain..).unwrap_or_default();
            if plain < CHUNK {
                rest = self.special(rest);
            }
        }
    }

    /// What is not copied as it is, at the front; gives back what follows.
    fn special<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest {
            [b' ', ..] => {
                let end = rest.iter().position(|&byte| byte != b' ').unwrap_or(rest.len());
                self.ascii(SPACE);
                rest.get(end..).unwrap_or_default()
            }
            [b'\\', b'n' | b't' | b'r', tail @ ..] => {
                self.ascii(SPACE);
                tail
            }
            [b'\\', byte @ (b'"' | b'\\' | b'/'), tail @ ..] => {
                self.out.push(*byte);
                tail
            }
            [b'\\', ..] => {
                let mut chars = Chars::new(rest);
                if let Some(Piece::Escaped(c)) = chars.next() {
                    self.char(c);
                }
                chars.rest()
            }
            [byte, tail @ ..] if byte.is_ascii() => {
                self.char(char::from(*byte));
                tail
            }
            _ => self.beyond_ascii(rest),
        }
    }

    /// A byte of a normal form.
    fn ascii(&mut self, byte: u8) {
        if byte != SPACE || self.out.last() != Some(&SPACE) {
            self.out.push(byte);
        }
    }

    /// Characters beyond ASCII that stay what they are, and one that may not; gives back what follows.
    fn beyond_ascii<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let same = Same::get();
        let mut length = 0;
        loop {
            let (code, bytes) = match text.get(length..).unwrap_or_default() {
                [a @ 0xE0..=0xEF, b, c, ..] => {
                    (bits(*a, 0xF) << 12 | bits(*b, 0x3F) << 6 | bits(*c, 0x3F), 3)
                }
                [a @ 0xC2..=0xDF, b, ..] => (bits(*a, 0x1F) << 6 | bits(*b, 0x3F), 2),
                _ => break,
            };
            if !same.has(code) {
                break;
            }
            length += bytes;
        }
        let (stays, rest) = text.split_at_checked(length).unwrap_or((text, b""));
        self.out.extend_from_slice(stays);
        match rest.first() {
            Some(lead) if !lead.is_ascii() => {
                let (other, rest) = rest.split_at_checked(utf8_length(*lead)).unwrap_or((rest, b""));
                String::from_utf8_lossy(other).chars().for_each(|c| self.char(c));
                rest
            }
            _ => rest,
        }
    }

    fn char(&mut self, c: char) {
        match u32::from(c) {
            0x09..=0x0d | 0x20 => self.ascii(SPACE),
            0..=0x1f | 0x7f => {}
            0x21..=0x7e => self.ascii(c.to_ascii_lowercase() as u8),
            tag @ 0xE0020..=0xE007E => self.hidden.extend(char::from_u32(tag - 0xE0000)),
            _ if invisible(c) => {}
            _ if c.is_whitespace() => self.ascii(SPACE),
            _ => decompose_compatible(c, |part| self.part(part)),
        }
    }

    fn part(&mut self, part: char) {
        if part == ' ' {
            return self.ascii(SPACE);
        }
        for low in part.to_lowercase() {
            if !('\u{300}'..='\u{36F}').contains(&low) && !low.is_control() {
                let latin = latin(low);
                self.out
                    .extend_from_slice(latin.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

/// Whether a character leaves no mark: Unicode's Default_Ignorable_Code_Point.
fn invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F | 0x202A..=0x202E
        | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3
        | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
        || c.is_control() && !c.is_whitespace()
}

/// The Latin letter that a lower-case letter looks like (or that its capital looks like), else itself.
fn latin(c: char) -> char {
    match c {
        'а' | 'α' | 'ᴀ' => 'a',
        'в' | 'β' | 'ʙ' => 'b',
        'с' | 'ᴄ' | 'ϲ' => 'c',
        'ԁ' | 'ᴅ' | 'đ' => 'd',
        'е' | 'ε' | 'ᴇ' => 'e',
        'ꜰ' => 'f',
        'ɢ' | 'ɡ' => 'g',
        'н' | 'һ' | 'ʜ' => 'h',
        'і' | 'ι' | 'ɪ' | 'ı' => 'i',
        'ј' | 'ᴊ' | 'ϳ' => 'j',
        'к' | 'κ' | 'ᴋ' => 'k',
        'ӏ' | 'ʟ' | 'ł' => 'l',
        'м' | 'ᴍ' => 'm',
        'ɴ' | 'η' => 'n',
        'о' | 'ο' | 'ᴏ' | 'ø' | 'օ' => 'o',
        'р' | 'ρ' | 'ᴘ' => 'p',
        'ԛ' => 'q',
        'ʀ' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ᴛ' => 't',
        'ᴜ' | 'υ' => 'u',
        'ν' | 'ᴠ' | 'ѵ' => 'v',
        'ԝ' | 'ᴡ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'ʏ' => 'y',
        'ᴢ' | 'ζ' => 'z',
        _ => match u32::from(c) {
            letter @ (0x1F150..=0x1F169 | 0x1F170..=0x1F189 | 0x1F1E6..=0x1F1FF) => {
                let first = [0x1F1E6, 0x1F170, 0x1F150]
                    .into_iter()
                    .find(|first| *first <= letter)
                    .unwrap_or(letter);
                char::from_u32(u32::from(b'a') + letter - first).unwrap_or(c)
            }
            _ => c,
        },
    }
}

/// A phrase in its normal form, without white space at its ends.
pub fn phrase(text: &str) -> String {
    let mut normal = Normal::default();
    normal.text(text);
    String::from_utf8_lossy(normal.bytes()).trim().to_owned()
}

/// A regular expression whose characters beyond ASCII are in their normal form; it is matched without case.
pub fn pattern(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    for c in regex.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut normal = Normal::default();
            normal.char(c);
            out.push_str(&String::from_utf8_lossy(normal.bytes()));
        }
    }
    out
}
