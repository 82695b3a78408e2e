//! Numbers that people carry: phones, payment cards, IBANs and national ids. One reader for all, since all of them
//! are groups of digits with separators.

use super::digits::Number;
use super::tables::{card, CALLING_CODES, IBAN_LENGTHS, NATIONAL_IDS};
use super::Span;
use crate::bytes::{at, before, escape_letter, starts_word, sub, word};
use crate::view::View;

// The fewest digits of any kind.
const SHORTEST: usize = 6;

/// Words that say that a plain number is a telephone's.
const PHONE_WORDS: [&[u8]; 12] = [
    b"tel",
    b"phone",
    b"call",
    b"fax",
    b"mobile",
    b"cell",
    b"whatsapp",
    b"contact",
    b"sms",
    "โทร".as_bytes(),
    "มือถือ".as_bytes(),
    "เบอร์".as_bytes(),
];

/// Which of the kinds of this file a rule asks for.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    /// The rule of each kind.
    pub phone: Option<u16>,
    /// Payment cards.
    pub card: Option<u16>,
    /// Bank accounts.
    pub iban: Option<u16>,
    /// National ids.
    pub national_id: Option<u16>,
    /// Bit per line of `NATIONAL_IDS`.
    pub countries: u32,
    /// Bit per number of digits that an id of theirs has.
    pub national_digits: u32,
}

impl Wanted {
    /// Asks for the ids of these countries.
    pub fn national(&mut self, countries: u32) {
        let asked = NATIONAL_IDS.iter().enumerate();
        let digits = asked
            .filter(|(i, _)| countries >> i & 1 == 1)
            .map(|(_, id)| id.digits);
        self.national_digits = digits.fold(0, |all, digits| all | digits);
        self.countries = countries;
    }
}

/// True when the digit at `i` goes on a word or a dotted number: nothing of this file begins there, and no address does. Most
/// digits of hashes, ids and versions.
pub fn inside(text: &[u8], i: usize) -> bool {
    match before(text, i) {
        b'a'..=b'z' | b'_' => !escape_letter(text, i),
        b'.' => word(before(text, i - 1)),
        _ => false,
    }
}

/// True when the number at `i`, with all its groups, has too few digits for any kind: most numbers of code and prose.
pub fn short(view: &View, i: usize) -> bool {
    let text = view.text;
    if matches!(before(text, i), b'A'..=b'Z' | b'+') {
        return false;
    }
    let (mut j, mut digits) = (i, 0);
    loop {
        match at(text, j) {
            b'0'..=b'9' => digits += 1,
            b' ' | b'.' | b'-' | b'(' | b')' => {}
            _ => return j < text.len() || view.whole,
        }
        j += 1;
        if digits >= SHORTEST || j - i >= 2 * SHORTEST {
            return false;
        }
    }
}

/// Everything that begins with the digit at `i`, the first of its run.
pub fn find(view: &View, i: usize, wanted: &Wanted, found: &mut impl FnMut(u16, Span)) {
    let text = view.text;
    let (prev, before_prev) = (before(text, i), before(text, i.saturating_sub(1)));
    // What may stand before the digits and belong to the value: `+`, `(`, or two letters, perhaps with a space.
    let hold = match (prev, before_prev) {
        (b'+' | b'(', _) => i - 1,
        (b' ', b'A'..=b'Z') => i - 3.min(i),
        (b'A'..=b'Z', b'A'..=b'Z') => i - 2,
        (b'A'..=b'Z', _) => i - 1,
        _ => i,
    };
    // First, since an account can have more digits than any other number.
    if let Some(rule) = wanted.iban.filter(|_| prev.is_ascii_uppercase()) {
        if let Some(span) = iban(view, i) {
            found(rule, span);
        }
    }
    let lettered = prev.is_ascii_uppercase() || (prev == b' ' && before_prev.is_ascii_uppercase());
    let open_left = starts_word(text, i)
        && !(matches!(prev, b'.' | b'-' | b'/' | b'#' | b'@') && (word(before_prev) || prev == b'#'));
    if !open_left && !lettered && prev != b'+' {
        return;
    }
    let Some(mut number) = Number::read(view, i, hold) else {
        return;
    };
    let all = number.count;
    // The longest reading of each kind wins.
    let mut phone = wanted.phone;
    let mut payment = wanted.card.filter(|_| open_left);
    let mut national = wanted.national_id;
    for count in (1..=all).rev() {
        number.count = count;
        let end = number.end();
        let closed = closed(view, end, hold);
        if closed {
            if let Some(rule) = payment {
                if uniform(&number) && card(number.digits()) {
                    found(rule, Span { start: i, end });
                    payment = None;
                }
            }
            if let Some(rule) = phone {
                if let Some(start) = phone_start(&number, prev, open_left) {
                    found(rule, Span { start, end });
                    phone = None;
                }
            }
        }
        if let Some(rule) = national.filter(|_| wanted.national_digits >> number.digits().len() & 1 == 1) {
            if let Some(span) = national_id(view, &number, wanted.countries, open_left, closed, hold) {
                found(rule, span);
                national = None;
            }
        }
    }
}

// Nothing after the number continues it.
fn closed(view: &View, end: usize, hold: usize) -> bool {
    match view.ahead(end, hold) {
        b if word(b) || b == b'@' => false,
        b'.' | b'-' | b'/' | b',' => !view.ahead(end + 1, hold).is_ascii_digit(),
        _ => true,
    }
}

fn uniform(n: &Number) -> bool {
    n.bare() || n.separator().is_some() && (n.shape(&[4, 6, 5]) || n.shape(&[4, 6, 4]) || fours(n))
}

fn fours(n: &Number) -> bool {
    (0..n.count).all(|g| n.group_len(g) == 4 || (g + 1 == n.count && g > 2 && n.group_len(g) <= 4))
}

fn national_id(
    view: &View,
    n: &Number,
    countries: u32,
    open_left: bool,
    closed: bool,
    hold: usize,
) -> Option<Span> {
    let length = 1_u32 << n.digits().len();
    for (bit, id) in NATIONAL_IDS.iter().enumerate() {
        let bit = 1_u32 << bit;
        let letters = matches!(id.country, "gb" | "es" | "sg" | "cn");
        if id.digits & length == 0
            || countries & bit == 0
            || !(letters || (closed && open_left))
            || !(id.check)(n)
        {
            continue;
        }
        let before_letters = match id.country {
            "gb" => Some(2 + usize::from(before(n.text, n.start) == b' ')),
            "sg" => Some(1),
            "es" => Some(usize::from(before(n.text, n.start).is_ascii_uppercase())),
            _ => Some(0),
        };
        let suffix = matches!(id.country, "gb" | "es" | "sg") || n.digits().len() == 17;
        let end = if suffix { n.after() + 1 } else { n.end() };
        // Look past the suffix, so that a stream waits for what could continue it.
        if suffix && word(view.ahead(end, hold)) || (!suffix && !closed) {
            continue;
        }
        let start = n.start - before_letters?;
        if starts_word(n.text, start) {
            return Some(Span { start, end });
        }
    }
    None
}

// The span's start when the groups are a phone number as people write it.
fn phone_start(n: &Number, prev: u8, open_left: bool) -> Option<usize> {
    let text = n.text;
    let digits = n.digits();
    let len = digits.len();
    if prev == b'+' {
        let start = n.start - 1;
        let free = !word(before(text, start)) && before(text, start) != b'+';
        return (free && international(digits)).then_some(start);
    }
    if !open_left {
        return None;
    }
    let first = digits.first().copied().unwrap_or(0);
    let second = digits.get(1).copied().unwrap_or(0);
    if prev == b'(' {
        // (212) 555-0147, (02) 123-4567
        let paren = n.separators().first() == Some(&b')');
        let american =
            n.count == 3 && groups(n, &[3, 3, 4]) && first >= 2 && digits.get(3).is_some_and(|&d| d >= 2);
        let national = first == 0 && second != 0 && (9..=11).contains(&len) && n.count <= 4;
        return (paren && (american || national)).then(|| n.start - 1);
    }
    let separators = n.separators();
    let same = separators.windows(2).all(|w| w.first() == w.last());
    let separator = separators.first().copied().unwrap_or(0);
    let number = match n.count {
        // Thai mobile numbers are the one national form that is told apart without separators; others need a word.
        1 if len == 10 && first == 0 && matches!(second, 6 | 8 | 9) => true,
        1 => {
            (if first == 0 { 9..=11 } else { 10..=10 }).contains(&len)
                && first != 1
                && n.after_word(&PHONE_WORDS)
        }
        3 if same && groups(n, &[3, 3, 4]) && first >= 2 && matches!(separator, b'-' | b'.') => {
            digits.get(3).is_some_and(|&d| d >= 2)
        }
        4 if same && separator == b'-' && groups(n, &[1, 3, 3, 4]) && first == 1 => second >= 2,
        // A group of a longer number with spaces is not the start of another one.
        2.. if prev == b' ' && separator == b' ' && before(text, n.start - 1).is_ascii_digit() => false,
        2.. if first == 0 && second == 0 => {
            let code = digits.get(2..).unwrap_or(&[]);
            code.first().is_some_and(|&d| d != 0) && n.group_len(0) <= 5 && same && international(code)
        }
        2..=5 if first == 0 && (9..=11).contains(&len) && same && matches!(separator, b' ' | b'-') => {
            national(n, digits)
        }
        5 if first == 0 && len == 10 && same && separator == b'.' => (0..5).all(|g| n.group_len(g) == 2),
        _ => false,
    };
    number.then_some(n.start)
}

fn groups(n: &Number, lengths: &[usize]) -> bool {
    n.count == lengths.len() && lengths.iter().enumerate().all(|(i, &l)| n.group_len(i) == l)
}

// A trunk zero, groups of two or more, and not only zeros and ones.
fn national(n: &Number, digits: &[u8]) -> bool {
    let lengths = (0..n.count).map(|g| n.group_len(g));
    let sized = lengths.enumerate().all(|(g, len)| match g {
        0 => (2..=5).contains(&len) || (len == 1 && n.group_len(1) == 4 && n.count == 3),
        _ => (2..=8).contains(&len),
    });
    sized && digits.get(1).is_some_and(|&d| d != 0) && digits.iter().any(|&d| d > 1)
}

fn international(digits: &[u8]) -> bool {
    let starts =
        |code: &str| code.bytes().zip(digits).all(|(c, d)| c - b'0' == *d) && digits.len() > code.len();
    let known = CALLING_CODES.iter().find(|(code, ..)| starts(code));
    let (from, to) = known.map_or((10, 13), |&(_, from, to)| (from, to));
    digits.first().is_some_and(|&d| d != 0) && (usize::from(from)..=usize::from(to)).contains(&digits.len())
}

const IBAN_MAX: usize = 33;

// An IBAN whose check digits begin at `i`.
fn iban(view: &View, i: usize) -> Option<Span> {
    let text = view.text;
    let start = i.checked_sub(2)?;
    let country: &[u8; 2] = sub(text, start, i).try_into().ok()?;
    if !starts_word(text, start) {
        return None;
    }
    let length = IBAN_LENGTHS
        .iter()
        .find(|(c, _)| *c == country)
        .map(|&(_, len)| usize::from(len))?;
    let mut value = [0_u8; IBAN_MAX];
    let (mut j, mut n) = (start, 0);
    while n < length {
        let b = view.ahead(j, start);
        if b.is_ascii_uppercase() || b.is_ascii_digit() {
            if let Some(slot) = value.get_mut(n) {
                *slot = b;
            }
            n += 1;
        } else if b != b' ' && b != b'-' || n % 4 != 0 || matches!(before(text, j), b' ' | b'-') {
            return None;
        }
        j += 1;
    }
    if word(view.ahead(j, start)) {
        return None;
    }
    let value = value.get(..length)?;
    let (head, body) = value.split_at_checked(4)?;
    let rest = body.iter().chain(head).fold(0_u32, |rest, &b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    });
    (rest == 1).then_some(Span { start, end: j })
}
