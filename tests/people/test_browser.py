"""Headless Chromium goes through a whole sign-on; the picture is kept as artifacts/people/sign-on.png."""

import json
from pathlib import Path

from playwright.sync_api import sync_playwright

from .services import TREE, SignOn

CHROMIUM = "/usr/bin/chromium"
# Milliseconds for each step on a busy machine.
PATIENCE = 120_000
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def test_a_browser_signs_on_reads_and_signs_out(site: SignOn, tmp_path: Path) -> None:
    site.issuer.signs_on(email="Carol.Jones@acme.example", groups=("ai-atlas-ops@acme.example",))
    picture = TREE / "artifacts/people/sign-on.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=PATIENCE
        )
        context.set_default_timeout(PATIENCE)
        try:
            page = context.new_page()
            page.goto(f"{site.url}/d/ai-gateway-overview?var-project=atlas")
            assert page.url == f"{site.url}/d/ai-gateway-overview?var-project=atlas"
            headers = json.loads(page.inner_text("#seen"))
            page.screenshot(path=str(picture))
            (cookie,) = [c for c in context.cookies() if c.get("name") == "__Host-sign_on"]
            page.click("#out")
            page.wait_for_url(f"{site.url}/signed-out")
            last = page.inner_text("body")
            left = [c.get("name") for c in context.cookies()]
            # Signed out, the next page is a new sign-on, which this account may not have any more.
            site.issuer.signs_on(groups=("choir@acme.example",))
            refused = page.goto(f"{site.url}/")
        finally:
            context.close()

    assert headers["x-dev-user"] == "carol-jones"
    assert headers["x-dev-group"] == "ops"
    assert headers["x-webauth-role"] == "Editor"
    assert cookie.get("httpOnly")
    assert cookie.get("secure")
    assert cookie.get("sameSite") == "Lax"
    assert "You are signed out" in last
    assert "__Host-sign_on" not in left
    assert refused is not None
    assert refused.status == 403
    assert picture.read_bytes().startswith(b"\x89PNG")
