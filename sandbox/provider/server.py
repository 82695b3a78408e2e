"""The mock provider's HTTP server.

`GET /_log` gives every request as it arrived (headers in order, raw body) with the time its answer's first byte left;
`DELETE /_log` forgets them. `PUT /_control` sets a script for all requests, `DELETE /_control` ends that.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import uvloop
from aiohttp import web

from . import shapes
from .script import Script

_LIMIT = 64 * 1024 * 1024
_KEPT = 2000


class Provider:
    """One provider's state: what it was sent, and what it is told to do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.script = Script()
        self.log: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        """Routes of the server."""
        app = web.Application(client_max_size=_LIMIT)
        app.add_routes(
            [
                web.get("/_log", self.show_log),
                web.delete("/_log", self.clear_log),
                web.put("/_control", self.control),
                web.delete("/_control", self.release),
                web.get("/v1/models", self.models),
                web.post("/v1/{api:chat/completions|completions|embeddings|responses|messages}", self.serve),
            ]
        )
        return app

    async def show_log(self, _: web.Request) -> web.Response:
        """Give every request kept."""
        return web.json_response(self.log)

    async def clear_log(self, _: web.Request) -> web.Response:
        """Forget them."""
        self.log.clear()
        return web.Response(status=204)

    async def control(self, request: web.Request) -> web.Response:
        """Take a script for all requests to come."""
        try:
            self.script = Script().told(await request.json())
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.Response(status=204)

    async def release(self, _: web.Request) -> web.Response:
        """End it."""
        self.script = Script()
        return web.Response(status=204)

    async def models(self, _: web.Request) -> web.Response:
        """List the one model there is."""
        return web.json_response({"object": "list", "data": [{"id": self.name, "object": "model"}]})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as told."""
        entry = await self._note(request)
        try:
            body = json.loads(entry["body"])
            script = self.script.in_prompt(shapes.prompt_text({k: v for k, v in body.items() if k != "model"}))
        except ValueError as error:
            raise web.HTTPBadRequest(text=_error(400, str(error)), content_type="application/json") from error
        if script.status != 200:
            return web.Response(
                status=script.status, text=_error(script.status, "as told"), content_type="application/json"
            )
        api = request.match_info["api"]
        answer = shapes.answer_to(body, script)
        if body.get("stream") and api != "embeddings":
            return await _stream(request, _events(api, answer, body), script, entry)
        await asyncio.sleep(script.first_ms / 1000)
        if script.hangup >= 0:
            _hang_up(request)
        entry["first_byte_at"] = time.time()
        return web.json_response(_whole(api, answer, body))

    async def _note(self, request: web.Request) -> dict[str, Any]:
        raw = await request.read()
        entry = {
            "provider": self.name,
            "at": time.time(),
            "first_byte_at": None,
            "method": request.method,
            "path": request.raw_path,
            "headers": [[k.decode(), v.decode()] for k, v in request.raw_headers],
            "body": raw.decode("utf-8", "replace"),
            "body_base64": base64.b64encode(raw).decode(),
        }
        self.log.append(entry)
        del self.log[:-_KEPT]
        return entry


def _whole(api: str, answer: shapes.Answer, body: shapes.Json) -> shapes.Json:
    match api:
        case "chat/completions":
            return shapes.chat(answer)
        case "completions":
            return shapes.completion(answer)
        case "embeddings":
            return shapes.embeddings(answer, body)
        case "responses":
            return shapes.response(answer)
        case _:
            return shapes.message(answer)


def _events(api: str, answer: shapes.Answer, body: shapes.Json) -> Iterator[str]:
    include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    match api:
        case "chat/completions":
            return shapes.chat_events(answer, include_usage)
        case "completions":
            return shapes.completion_events(answer, include_usage)
        case "responses":
            return shapes.response_events(answer)
        case _:
            return shapes.message_events(answer)


async def _stream(
    request: web.Request, events: Iterator[str], script: Script, entry: dict[str, Any]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await asyncio.sleep(script.first_ms / 1000)
    await response.prepare(request)
    for number, event in enumerate(events):
        if number == script.hangup:
            _hang_up(request)
        await response.write(event.encode())
        entry["first_byte_at"] = entry["first_byte_at"] or time.time()
        await asyncio.sleep(script.delay_ms / 1000)
    await response.write_eof()
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("told to hang up")


def _error(status: int, message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "mock_error", "code": str(status), "param": None}})


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description="stand-in for an LLM provider")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    app = Provider(arguments.name).application()
    web.run_app(
        app, host="127.0.0.1", port=arguments.port, access_log=None, print=lambda *_: None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main()
