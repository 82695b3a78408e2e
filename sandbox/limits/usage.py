"""Access log service of the limits' stand-in: debits what ai-statistics says an answer used."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse
from google.protobuf.wrappers_pb2 import BytesValue

from .counters import Counters, CountersUnavailableError

_NAMESPACE = "envoy.filters.http.ext_authz"
_LOG = logging.getLogger("usage")


def tokens_used(entry: HTTPAccessLogEntry) -> int:
    """Input and output tokens by ai-statistics' own log; 0 when the answer ended without usage."""
    logged = entry.common_properties.filter_state_objects.get("wasm.ai_log")
    if logged is None:
        return 0
    value = BytesValue()
    if not logged.Unpack(value):
        return 0
    try:
        # The filter state is JSON with its quotes escaped: the text of a JSON string.
        ai_log: dict[str, Any] = json.loads(json.loads(b'"' + value.value + b'"'))
    except ValueError:
        return 0
    return int(ai_log.get("input_token") or 0) + int(ai_log.get("output_token") or 0)


class AccessLog:
    """Takes Envoy's log entries and debits them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def stream(
        self, messages: AsyncIterator[StreamAccessLogsMessage], _: grpc.aio.ServicerContext
    ) -> StreamAccessLogsResponse:
        """Debit entry by entry, as they come."""
        async for message in messages:
            for entry in message.http_logs.log_entry:
                await self._debit(entry)
        return StreamAccessLogsResponse()

    async def _debit(self, entry: HTTPAccessLogEntry) -> None:
        tokens = tokens_used(entry)
        fields = entry.common_properties.metadata.filter_metadata[_NAMESPACE].fields
        if not tokens:
            return
        for name in fields:
            if name.startswith("debit-"):
                quota, windows = json.loads(fields[name].string_value)
                try:
                    await self._counters.debit(tokens, quota, windows)
                except CountersUnavailableError:
                    _LOG.warning("%d tokens were not debited: Redis is away", tokens)


async def serve(port: int, counters: Counters) -> None:
    """Serve until stopped."""
    handler = grpc.stream_unary_rpc_method_handler(
        AccessLog(counters).stream, StreamAccessLogsMessage.FromString, StreamAccessLogsResponse.SerializeToString
    )
    server = grpc.aio.server()
    name = "envoy.service.accesslog.v3.AccessLogService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"StreamAccessLogs": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Run the service."""
    parser = argparse.ArgumentParser(description="stand-in for ai-quota and ai-token-ratelimit: debits")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis-port", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")

    async def run() -> None:
        await serve(arguments.port, Counters("127.0.0.1", arguments.redis_port, timeout=2.0))

    uvloop.run(run())


if __name__ == "__main__":
    main()
