"""A labelled corpus of our own making: code, logs, chat, JSON, Thai and other scripts, and much that only looks like data.

Deterministic: the same lines on every machine. No value is a person's: all are drawn by a seeded generator, with valid
check digits where the kind has any. A label is where a value lies and of which kind it is.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SEED = 20261123
PER_TEMPLATE = 8


@dataclass(frozen=True)
class Label:
    """A value: characters START up to END of the line."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Line:
    """One text with all its values."""

    text: str
    labels: tuple[Label, ...]
    genre: str


Rng = random.Random
NAMES = ("bob", "alice.smith", "j.doe", "somchai_p", "maria-g", "k.tanaka", "li.wei", "omar", "dev+ci", "a.n.other7")
DOMAINS = ("acme.io", "mail.globex.co.th", "initech.de", "umbrella.co.uk", "northwind.dev", "contoso.fr", "hooli.rs")
ALNUM = string.ascii_letters + string.digits


def pick(rng: Rng, alphabet: str, count: int) -> str:
    """COUNT characters, with at least one digit and one capital where the alphabet has them."""
    while True:
        text = "".join(rng.choice(alphabet) for _ in range(count))
        mixed = any(c.isdigit() for c in text) and (any(c.isalpha() for c in text) or count < 6)
        capital = any(c.isupper() for c in text) or not any(c.isupper() for c in alphabet)
        if mixed and capital and len(set(text)) > min(4, count // 2):
            return text


def digits(rng: Rng, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def email(rng: Rng) -> str:
    return f"{rng.choice(NAMES)}@{rng.choice(DOMAINS)}"


def phone(rng: Rng) -> str:
    mobile = f"{rng.choice('689')}{digits(rng, 8)}"
    exchange = f"{rng.randint(201, 989)}-{rng.randint(200, 999)}-{digits(rng, 4)}"
    area, prefix = rng.randint(201, 989), rng.randint(200, 999)
    forms = (
        f"0{mobile}",
        f"0{mobile[:2]}-{mobile[2:5]}-{mobile[5:]}",
        f"0{mobile[:2]} {mobile[2:5]} {mobile[5:]}",
        f"+66 {mobile[:2]} {mobile[2:5]} {mobile[5:]}",
        f"+66{mobile}",
        f"02-{rng.randint(200, 999)}-{digits(rng, 4)}",
        exchange,
        f"({area}) {prefix}-{digits(rng, 4)}",
        f"+1 {exchange.replace('-', ' ')}",
        f"+44 20 {rng.randint(7000, 8999)} {digits(rng, 4)}",
        f"+49 30 {rng.randint(100000, 9999999)}",
        f"+81-90-{rng.randint(1000, 9999)}-{digits(rng, 4)}",
    )
    return rng.choice(forms)


def ip(rng: Rng) -> str:
    if rng.random() < 0.25:
        return (
            f"2a{rng.randint(10, 99)}:{rng.randint(1000, 9999)}:{rng.randint(1000, 9999)}::{rng.randint(100, 9999):x}"
        )
    first = rng.choice((10, 172, 34, 52, 185, 203, 8))
    return f"{first}.{rng.randint(16, 250)}.{rng.randint(1, 254)}.{rng.randint(1, 254)}"


def api_key(rng: Rng) -> str:
    upper = string.ascii_uppercase + string.digits
    forms = (
        "sk-" + pick(rng, ALNUM, 48),
        "sk-proj-" + pick(rng, ALNUM, 40),
        "sk-ant-api03-" + pick(rng, ALNUM, 60),
        "ghp_" + pick(rng, ALNUM, 36),
        "glpat-" + pick(rng, ALNUM, 20),
        "AKIA" + pick(rng, upper, 16),
        "AIza" + pick(rng, ALNUM, 35),
        f"xoxb-{digits(rng, 12)}-{pick(rng, ALNUM, 24)}",
        "hf_" + pick(rng, ALNUM, 34),
        "sk_live_" + pick(rng, ALNUM, 24),
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{pick(rng, ALNUM, 40)}.{pick(rng, ALNUM, 43)}",
    )
    return rng.choice(forms)


def credential(rng: Rng) -> str:
    forms = (
        pick(rng, ALNUM, 12),
        pick(rng, ALNUM + "!@#$%^*", 14).replace("@", "7"),
        pick(rng, string.hexdigits.lower(), 32),
        rng.choice(("Tr0ub4dor", "Winter2026!", "s3cr3tPw", "Kho4Phat", "hunter2X")) + digits(rng, 2),
    )
    return rng.choice(forms)


def _luhn(body: str) -> str:
    total = 0
    for i, char in enumerate(reversed(body)):
        value = int(char) * (2 if i % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def credit_card(rng: Rng) -> str:
    prefix = rng.choice(("4539", "4916", "5412", "5288", "6011", "2720"))
    number = _luhn(prefix + digits(rng, 11))
    groups = [number[i : i + 4] for i in range(0, 16, 4)]
    if rng.random() < 0.15:
        number = _luhn("3782" + digits(rng, 10))
        return rng.choice((number, f"{number[:4]} {number[4:10]} {number[10:]}"))
    return rng.choice((" ".join(groups), "-".join(groups), number))


def iban(rng: Rng) -> str:
    country, length = rng.choice((("DE", 22), ("FR", 27), ("ES", 24), ("NL", 18), ("GB", 22)))
    bank = "ABNA" if country == "NL" else "BARC" if country == "GB" else ""
    body = bank + digits(rng, length - 4 - len(bank))
    number = int("".join(str(int(c, 36)) for c in f"{body}{country}00"))
    whole = f"{country}{98 - number % 97:02d}{body}"
    return whole if rng.random() < 0.5 else " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))


def _thai(rng: Rng) -> str:
    body = rng.choice("1235") + rng.choice(("1017", "5099", "3101", "8399", "4001")) + digits(rng, 7)
    total = sum(int(c) * (13 - i) for i, c in enumerate(body))
    whole = body + str((11 - total % 11) % 10)
    return rng.choice((whole, f"{whole[0]}-{whole[1:5]}-{whole[5:10]}-{whole[10:12]}-{whole[12]}"))


def national_id(rng: Rng) -> str:
    number = rng.randint(10_000_000, 99_999_999)
    area = rng.randint(100, 665)
    forms = (
        _thai(rng),
        _thai(rng),
        f"{area}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}",
        f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}",
        f"AB{digits(rng, 6)}C",
    )
    return rng.choice(forms)


KINDS: dict[str, Callable[[Rng], str]] = {
    "email": email,
    "phone": phone,
    "ip": ip,
    "api_key": api_key,
    "credential": credential,
    "credit_card": credit_card,
    "iban": iban,
    "national_id": national_id,
}

# {kind} is a labelled value, {n}, {hex40} and so on are noise.
POSITIVE: dict[str, tuple[str, ...]] = {
    "chat": (
        "Hi, please write to {email} about the invoice.",
        "My number is {phone}, call me after six.",
        "You can reach Bob ({email}) or on {phone}.",
        "Charge it to my card {credit_card}, please.",
        "The refund goes to {iban}, reference 2026-{n}.",
        "My id is {national_id} if you need it.",
        "Can you check why {ip} cannot connect?",
        "is {email} the same as {email}?",
        "I accidentally pasted my key {api_key} in the chat, what now?",
        "the wifi password is {credential}",
        "Contact: {email} | {phone} | office 4, floor {n}",
        "SSN on file: {national_id}, card on file: {credit_card}",
    ),
    "thai": (
        "ติดต่อ {email} หรือโทร {phone} นะครับ",
        "เบอร์ผม{phone}โทรมาได้เลย",
        "เลขบัตรประชาชน {national_id} ชื่อสมชาย",
        "อีเมล{email}ใช้ไม่ได้แล้ว",
        "รหัสผ่าน: {credential}",
        "โอนเข้าบัตร {credit_card} ภายในวันที่ {n}",
        "เครื่อง {ip} ล่มตั้งแต่เมื่อคืน",
        "ลูกค้าแจ้งเบอร์ใหม่ {phone} และอีเมล {email}",
    ),
    "scripts": (
        "連絡先は{email}、電話は{phone}です。",
        "请联系{email}或拨打{phone}。",
        "Пишите на {email}, телефон {phone}.",
        "البريد {email} والهاتف {phone}",
        "Überweisung an {iban}, Fragen an {email}",
        "Mon numéro est le {phone}, mon mail {email}.",
        "संपर्क {email} फ़ोन {phone}",
        "Mi DNI es {national_id} y mi correo {email}",
        "カード番号 {credit_card} を登録しました",
    ),
    "log": (
        "2026-11-23T08:{m}:{m}Z INFO login ok user={email} from={ip}",
        '{ip} - - [23/Nov/2026:08:{m}:{m} +0000] "GET /api/v1/users HTTP/1.1" 200 {n}',
        "Nov 23 08:{m}:{m} gw sshd[{n}]: Accepted publickey for deploy from {ip} port 51{m}",
        "WARN payment declined card={credit_card} order={n}",
        "ERROR smtp: 550 5.1.1 <{email}> recipient rejected",
        'level=info msg="sms sent" to={phone} id={uuid}',
        "DEBUG upstream {ip}:8443 connect timeout after {n}ms",
        "audit: token {api_key} revoked by {email}",
        "kernel: [UFW BLOCK] SRC={ip} DST={ip} LEN=60",
        "E1123 08:{m}:{m} auth.go:77] Authorization: Bearer {credential48} rejected",
    ),
    "json": (
        '{"user": {"email": "{email}", "phone": "{phone}"}, "id": {n}}',
        '{"ip":"{ip}","ua":"Mozilla/5.0","ok":true}',
        '{"card": "{credit_card}", "exp": "12/28", "cvv": "***"}',
        '{"password": "{credential}", "remember": false}',
        '{"api_key": "{credential}", "region": "eu-1"}',
        '{"iban":"{iban}","amount":{n}.00,"currency":"EUR"}',
        '{"national_id": "{national_id}", "country": "x"}',
        '{"to": ["{email}", "{email}"], "subject": "hello"}',
    ),
    "code": (
        'client = OpenAI(api_key="{api_key}")',
        "export OPENAI_API_KEY={api_key}",
        'DB_PASSWORD="{credential}"',
        "DATABASE_URL=postgres://app:{credentialurl}@db.internal:5432/app",
        'const ADMIN = "{email}"; // owner',
        'curl -H "Authorization: Bearer {credential48}" https://api.acme.io/v1',
        'assert validate("{credit_card}") is True',
        'HOSTS = ["{ip}", "{ip}"]',
        "git config user.email {email}",
        'password: "{credential}"  # staging',
        "aws_secret_access_key = {credential40}",
        'send_sms("{phone}", "your code is {n}")',
        "ssh root@{ip} -p 2222",
        'IBAN = "{iban}"',
        "GITHUB_TOKEN: {api_key}",
    ),
}

NEGATIVE: dict[str, tuple[str, ...]] = {
    "versions": (
        "Upgraded from v1.{m}.3.{m} to version 2.{m}.1.7 last night.",
        '"version": "4.{m}.0.12", "engines": {"node": ">=18.{m}.0"}',
        "Mozilla/5.0 (X11; Linux x86_64) Chrome/12{m}.0.0.0 Safari/537.36",
        "requests==2.31.{m} numpy>=1.{m}.4 foo==1.2.{m}.4",
        'AssemblyVersion("1.{m}.0.0")',
        "see section 3.{m}.1.4 and figure 2.1.{m}.3",
        "OID 1.3.6.1.4.1.311.{m}.2 is registered",
        "react@18.{m}.0, lodash@4.17.{m}, @types/node@20.{m}.1",
        "openssl 3.0.{m}, kernel 6.1.0-{m}-amd64, glibc 2.36.{m}.1",
        "firmware 10.{m}.7.2 fixes it; release 7.{m}.2.9 did not",
    ),
    "hashes": (
        "commit {hex40}",
        "fixed in {hex7}..{hex7}, see {hex40}",
        "image: acme/app@sha256:{hex64}",
        "request_id={uuid} trace_id={hex32} span={hex16}",
        '{"id": "{uuid}", "etag": "{hex32}"}',
        "integrity sha512-{b64}==",
        'token = "{hex40}"  # commit of the token service',
        "Merge {hex7} into {hex40} (tree {hex40})",
        "md5sum: {hex32}  release.tar.gz",
        "blob:https://app.acme.io/{uuid}",
    ),
    "numbers": (
        "created_at: 17{d8}, updated_at: 17{d8}",
        '{"ts": 17{d11}, "duration_ms": {n}}',
        "start=17{d14} end=17{d14} (microseconds)",
        "tweet 17{d16} was deleted",
        "Order 100{d9} shipped, tracking 1Z999AA1{d8}",
        "between 2024-01-15 10:{m}:00 and 2026-11-{m} 08:{m}:59",
        "lat 13.7563{d8}, lon 100.5018{d8}",
        "balance 1,234,567.{m} THB; rate 35.{d6}",
        "ISBN 978-3-16-148410-0, pages 100-200-300",
        "0x{hex16} 0b1010 1e10 0.{d9}",
        "for (i = 0; i < 1000000000; i++) sum += {n};",
        "[{n}, {n}, {n}, 300, 400, 5000, {n}]",
        "{n} + {n} = 12345678901 / 3",
        "00000000: 7f45 4c46 0201 0100 0000 0000 0000 0000",
        "2026-11-23 08:{m} | 12:34:56 | 00:1a:2b:3c:4d:{m}",
        "invoice INV-2026-{d8} of 05-11-2024",
    ),
    "addresses": (
        "listening on 127.0.0.1:{n}, http://localhost:{n}/ and [::1]:{n}",
        "bind 0.0.0.0:{n} netmask 255.255.255.0",
        "documentation uses 192.0.2.{m}, 198.51.100.{m} and 2001:db8::{m}",
        "mail user@example.com or admin@example.org in the tutorial",
        "root@localhost, test@foo.test, x@service.invalid",
        "git clone git@github.com:acme/app.git",
        "background: url(img/logo@2x.png)",
        "systemctl restart user@1000.service getty@tty1.service",
        '@Override @property @pytest.mark.skip(reason="{n}")',
        "std::collections::HashMap a::b::c crate::net::ip",
        "npm i @acme/ui@latest --registry https://npm.acme.io",
    ),
    "placeholders": (
        'api_key = os.environ["API_KEY"]',
        "password = getpass.getpass()",
        "password: Optional[str] = None",
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "OPENAI_API_KEY=sk-your-key-here-please-replace-it",
        "secret: ${VAULT_SECRET_{m}}",
        "token: {{ vault_token_{m} }}",
        "the password is required and must have 12 characters",
        "max_tokens: {n}, total_tokens={n}, token_count={n}",
        "postgres://user:password@localhost/db",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
        "if (password === confirm.password) { token = next.token }",
        "task-runner-0123456789abcdefghij, risk-free, desk-{d8}",
        "def reset_password(token: str, secret_len: int = 32):",
        '<input type="password" name="password" autocomplete="off">',
    ),
    "prose": (
        "The quick brown fox jumps over the lazy dog {n} times.",
        "วันนี้อากาศดี มีคนมา {n} คน เวลา 10.{m} น.",
        "Let me know at 5 or 6, room {n}, building 7-2.",
        "Refactor the parser: it allocates {n} times per call (see #{n}).",
        "今日は{n}件の注文がありました。",
        "ราคา 1,290 บาท ลด 10% เหลือ 1,161 บาท",
        "SELECT id, name FROM users WHERE id = {n} LIMIT 10;",
        "The meeting moved from 09:30-10:15 to 13:00-14:{m}.",
        "e = mc^2, f(x) = 3x^2 + {n}x - 7",
        "colors: #ff{m}cc #00112233 rgba(0, 12, 34, 0.5)",
    ),
}


def _noise(rng: Rng, name: str) -> str:
    lower = "0123456789abcdef"
    if name == "n":
        return str(rng.randint(2, 65000))
    if name == "m":
        return f"{rng.randint(10, 59)}"
    if name == "uuid":
        parts = (8, 4, 4, 4, 12)
        return "-".join("".join(rng.choice(lower) for _ in range(p)) for p in parts)
    if name == "b64":
        return pick(rng, ALNUM + "+/", 86)
    if name.startswith("hex"):
        return "".join(rng.choice(lower) for _ in range(int(name[3:])))
    return digits(rng, int(name[1:]))


def _value(rng: Rng, slot: str) -> tuple[str, str | None]:
    if slot in KINDS:
        return KINDS[slot](rng), slot
    if slot == "credentialurl":
        return pick(rng, ALNUM, 14), "credential"
    if slot.startswith("credential"):
        return pick(rng, ALNUM, int(slot.removeprefix("credential"))), "credential"
    return _noise(rng, slot), None


NOISE = ("n", "m", "uuid", "b64", "hex7", "hex16", "hex32", "hex40", "hex64", "d6", "d8", "d9", "d11", "d14", "d16")
SLOTS = frozenset((*KINDS, "credentialurl", "credential40", "credential48", *NOISE))


def fill(rng: Rng, template: str, genre: str) -> Line:
    """A line from a template; braces that are no slot stand for themselves."""
    text, labels, rest = "", [], template
    while "{" in rest:
        before, _, after = rest.partition("{")
        slot, closed, tail = after.partition("}")
        if not closed or slot not in SLOTS:
            text, rest = text + before + "{", after
            continue
        text += before
        value, kind = _value(rng, slot)
        if kind:
            labels.append(Label(len(text), len(text) + len(value), kind))
        text, rest = text + value, tail
    return Line(text + rest, tuple(labels), genre)


def lines() -> Iterator[Line]:
    """The whole corpus, always the same."""
    rng = random.Random(SEED)
    for genre, templates in POSITIVE.items():
        for template in templates:
            # Enough of each that every form of a kind comes up.
            for _ in range(PER_TEMPLATE * 3):
                yield fill(rng, template, genre)
    for genre, templates in NEGATIVE.items():
        for template in templates:
            for _ in range(PER_TEMPLATE * 2):
                yield fill(rng, template, genre)


def prose(size: int, per_value: int = 40) -> str:
    """About SIZE bytes of a coding agent's context: lines of the corpus, one in PER_VALUE with values in it."""
    rng = random.Random(SEED + size)
    every = list(lines())
    plain = [line.text for line in every if not line.labels]
    valued = [line.text for line in every if line.labels]
    filler = ("    let total = items.iter().map(|item| item.price * item.count).sum::<f64>();", "}", "")
    out, used, number = [], 0, 0
    while used < size:
        number += 1
        choice = valued if number % per_value == 0 else plain if number % 3 == 0 else filler
        out.append(rng.choice(choice))
        used += len(out[-1].encode()) + 1
    return "\n".join(out)
