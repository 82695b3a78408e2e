//! Tables behind the kinds. To add a national id: one line in `NATIONAL_IDS` and its check.

use super::digits::{luhn, Number};

/// Length of an IBAN per country (the SWIFT registry of IBAN formats).
pub const IBAN_LENGTHS: [(&[u8; 2], u8); 80] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"TR", 26),
    (b"UA", 29),
];

/// Calling codes whose numbers (with the code, without `+`) have a known span of digits (ITU E.164); other valid codes
/// have 10 to 13.
pub const CALLING_CODES: [(&str, u8, u8); 48] = [
    ("1", 11, 11),
    ("7", 11, 11),
    ("20", 11, 12),
    ("27", 11, 11),
    ("30", 12, 12),
    ("31", 11, 11),
    ("32", 10, 11),
    ("33", 11, 11),
    ("34", 11, 11),
    ("36", 10, 11),
    ("39", 10, 13),
    ("40", 11, 11),
    ("41", 11, 11),
    ("43", 10, 13),
    ("44", 11, 12),
    ("45", 10, 10),
    ("46", 10, 12),
    ("47", 10, 10),
    ("48", 11, 11),
    ("49", 10, 13),
    ("51", 10, 11),
    ("52", 12, 12),
    ("53", 10, 10),
    ("54", 12, 13),
    ("55", 12, 13),
    ("56", 11, 11),
    ("57", 11, 12),
    ("58", 12, 12),
    ("60", 10, 12),
    ("61", 11, 11),
    ("62", 10, 13),
    ("63", 11, 12),
    ("64", 10, 12),
    ("65", 10, 10),
    ("66", 10, 11),
    ("81", 11, 12),
    ("82", 10, 12),
    ("84", 11, 12),
    ("86", 12, 13),
    ("90", 12, 12),
    ("91", 12, 12),
    ("92", 11, 12),
    ("93", 11, 11),
    ("94", 11, 11),
    ("95", 9, 12),
    ("98", 12, 12),
    ("852", 11, 11),
    ("856", 11, 13),
];

/// Issuers' prefixes of payment cards: first and last prefix, and the lengths in use.
pub const CARD_PREFIXES: [(u32, u32, &[usize]); 14] = [
    (4, 4, &[16]),
    (51, 55, &[16]),
    (2221, 2720, &[16]),
    (34, 34, &[15]),
    (37, 37, &[15]),
    (6011, 6011, &[16]),
    (644, 649, &[16]),
    (65, 65, &[16]),
    (3528, 3589, &[16]),
    (300, 305, &[14]),
    (36, 36, &[14]),
    (38, 39, &[14]),
    (62, 62, &[16, 17, 18, 19]),
    (50, 50, &[16]),
];

// All lengths are within these.
const CARD_LENGTHS: core::ops::RangeInclusive<usize> = 14..=19;

/// One country's identity number.
pub struct NationalId {
    /// ISO 3166 code in lower case, as in `countries`.
    pub country: &'static str,
    /// How many digits it has: a bit per number.
    pub digits: u32,
    /// True when the number, as written, is one of that country's.
    pub check: fn(&Number) -> bool,
}

/// The plug-in table of national ids.
pub const NATIONAL_IDS: [NationalId; 10] = [
    NationalId {
        country: "th",
        digits: 1 << 13,
        check: thai,
    },
    NationalId {
        country: "us",
        digits: 1 << 9,
        check: social_security,
    },
    NationalId {
        country: "gb",
        digits: 1 << 6,
        check: national_insurance,
    },
    NationalId {
        country: "es",
        digits: 1 << 7 | 1 << 8,
        check: spanish,
    },
    NationalId {
        country: "sg",
        digits: 1 << 7,
        check: singapore,
    },
    NationalId {
        country: "br",
        digits: 1 << 11,
        check: brazilian,
    },
    NationalId {
        country: "in",
        digits: 1 << 12,
        check: aadhaar,
    },
    NationalId {
        country: "cn",
        digits: 1 << 17 | 1 << 18,
        check: chinese,
    },
    NationalId {
        country: "kr",
        digits: 1 << 13,
        check: korean,
    },
    NationalId {
        country: "fr",
        digits: 1 << 15,
        check: french,
    },
];

fn weighted(digits: &[u8], weights: impl IntoIterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(&d, w)| u32::from(d) * w).sum()
}

fn digit(digits: &[u8], i: usize) -> u32 {
    u32::from(digits.get(i).copied().unwrap_or(0))
}

// 13 digits, the last a checksum modulo 11; `1-2345-67890-12-3` or unbroken.
fn thai(n: &Number) -> bool {
    let d = n.digits();
    if !(n.bare() && n.shape(&[13]) || n.shape(&[1, 4, 5, 2, 1])) || !(1..=8).contains(&digit(d, 0)) {
        return false;
    }
    let sum = weighted(d.get(..12).unwrap_or(&[]), (2..=13).rev());
    (11 - sum % 11) % 10 == digit(d, 12) && !(n.bare() && n.after_time_word())
}

// AAA-GG-SSSS: no area 000, 666 or 9xx, no group 00, no serial 0000.
fn social_security(n: &Number) -> bool {
    let d = n.digits();
    let area = digit(d, 0) * 100 + digit(d, 1) * 10 + digit(d, 2);
    n.shape(&[3, 2, 4])
        && n.separator() == Some(b'-')
        && !matches!(area, 0 | 666 | 900..)
        && digit(d, 3) + digit(d, 4) > 0
        && d.get(5..).is_some_and(|s| s.iter().any(|&x| x > 0))
}

// AA 12 34 56 A.
fn national_insurance(n: &Number) -> bool {
    let (Some(&[a, b]), Some(&[suffix])) = (n.letters_before::<2>(), n.letters_after::<1>()) else {
        return false;
    };
    let first = b"ABCEGHJKLMNOPRSTWXYZ".contains(&a);
    let second = b"ABCEGHJKLMNPRSTWXYZ".contains(&b);
    let unissued = matches!(&[a, b], b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ");
    (n.shape(&[6]) || n.shape(&[2, 2, 2])) && first && second && !unissued && (b'A'..=b'D').contains(&suffix)
}

// DNI: 8 digits and a letter; NIE: X, Y or Z, 7 digits and a letter; the letter is the number modulo 23.
fn spanish(n: &Number) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let d = n.digits();
    let Some(&[letter]) = n.letters_after::<1>() else {
        return false;
    };
    let head = match (n.letters_before::<1>(), d.len()) {
        (None, 8) => 0,
        (Some(b"X"), 7) => 0,
        (Some(b"Y"), 7) => 1,
        (Some(b"Z"), 7) => 2,
        _ => return false,
    };
    let value = d.iter().fold(head, |v: u64, &x| v * 10 + u64::from(x));
    n.groups() == 1 && LETTERS.get((value % 23) as usize) == Some(&letter)
}

// NRIC and FIN: S, T, F, G or M, 7 digits and a letter.
fn singapore(n: &Number) -> bool {
    let (Some(&[prefix]), Some(&[letter])) = (n.letters_before::<1>(), n.letters_after::<1>()) else {
        return false;
    };
    let sum = weighted(n.digits(), [2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters): (u32, &[u8; 11]) = match prefix {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    let index = (sum + offset) % 11;
    let index = if prefix == b'M' { 10 - index } else { index };
    n.shape(&[7]) && letters.get(index as usize) == Some(&letter)
}

// CPF: 123.456.789-09, two check digits.
fn brazilian(n: &Number) -> bool {
    let d = n.digits();
    let check = |len: usize| {
        let sum = weighted(d.get(..len).unwrap_or(&[]), (2..=len as u32 + 1).rev());
        (sum * 10 % 11) % 10 == digit(d, len)
    };
    n.shape(&[3, 3, 3, 2]) && n.separators() == b"..-" && check(9) && check(10)
}

// Aadhaar: 4-4-4 with a Verhoeff check digit; unbroken it is too common a number to be told apart.
fn aadhaar(n: &Number) -> bool {
    const MULTIPLY: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |mut x: u8, times: usize| {
        for _ in 0..times {
            x = PERMUTE.get(x as usize).copied().unwrap_or(0);
        }
        x
    };
    let d = n.digits();
    let sum = d.iter().rev().enumerate().fold(0_u8, |sum, (i, &x)| {
        let row = MULTIPLY.get(sum as usize);
        row.and_then(|r| r.get(permuted(x, i % 8) as usize))
            .copied()
            .unwrap_or(0)
    });
    n.shape(&[4, 4, 4]) && n.separator().is_some() && digit(d, 0) >= 2 && sum == 0
}

// 17 digits and a check character (ISO 7064 MOD 11-2); digits 7 to 14 are the date of birth.
fn chinese(n: &Number) -> bool {
    let d = n.digits();
    let last = match (n.shape(&[18]), n.shape(&[17]), n.letters_after::<1>()) {
        (true, _, _) => digit(d, 17),
        (_, true, Some(b"X" | b"x")) => 10,
        _ => return false,
    };
    let year = digit(d, 6) * 1000 + digit(d, 7) * 100 + digit(d, 8) * 10 + digit(d, 9);
    let (month, day) = (digit(d, 10) * 10 + digit(d, 11), digit(d, 12) * 10 + digit(d, 13));
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum = weighted(d.get(..17).unwrap_or(&[]), weights);
    (1900..2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (12 - sum % 11) % 11 == last
}

// YYMMDD-SBBBBNC: the last digit is a checksum (cards issued before October 2020).
fn korean(n: &Number) -> bool {
    let d = n.digits();
    let (month, day) = (digit(d, 2) * 10 + digit(d, 3), digit(d, 4) * 10 + digit(d, 5));
    let sum = weighted(d.get(..12).unwrap_or(&[]), [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    n.shape(&[6, 7])
        && n.separator() == Some(b'-')
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (1..=8).contains(&digit(d, 6))
        && (11 - sum % 11) % 10 == digit(d, 12)
}

// NIR: sex, year, month, place, order and a key of 97 minus the rest modulo 97; written in its groups.
fn french(n: &Number) -> bool {
    let d = n.digits();
    let value = |s: &[u8]| s.iter().fold(0_u64, |v, &x| v * 10 + u64::from(x));
    let body = value(d.get(..13).unwrap_or(&[]));
    let key = value(d.get(13..).unwrap_or(&[]));
    n.shape(&[1, 2, 2, 2, 3, 3, 2]) && matches!(digit(d, 0), 1 | 2) && 97 - body % 97 == key
}

/// True when the digits are a payment card's: a known issuer, a length that it uses, and the Luhn check.
pub fn card(digits: &[u8]) -> bool {
    if !CARD_LENGTHS.contains(&digits.len()) {
        return false;
    }
    let prefix = |len: usize| digits.iter().take(len).fold(0_u32, |v, &x| v * 10 + u32::from(x));
    let known = CARD_PREFIXES.iter().any(|&(from, to, lengths)| {
        let width = from.ilog10() as usize + 1;
        lengths.contains(&digits.len()) && (from..=to).contains(&prefix(width))
    });
    known && luhn(digits) && digits.iter().any(|&x| Some(&x) != digits.first())
}
