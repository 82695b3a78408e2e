"""ext_authz service of the limits' stand-in: one call a request for all quotas and limits that stand side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import grpc
import uvloop
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from google.rpc import code_pb2

from .counters import Counters, CountersUnavailableError
from .decision import Check, Refusal, RulesFile, verdict

REDIS_TIMEOUT = 0.7
"""Seconds; a caller is promised an answer within one."""

_UNAVAILABLE = Refusal(
    503,
    json.dumps(
        {
            "error": {
                "message": "The store of quotas and limits cannot be reached. Nothing was sent to a model; try again.",
                "type": "server_error",
                "code": "limits_unavailable",
                "param": None,
                "gate": "limits",
            }
        }
    ),
    "application/json",
    (("x-gate", "limits"),),
)


class Authorization:
    """Answers Envoy's checks."""

    def __init__(self, rules: RulesFile, counters: Counters) -> None:
        self._rules = rules
        self._counters = counters

    async def check(self, request: CheckRequest, context: grpc.aio.ServicerContext) -> CheckResponse:
        """Admit or refuse; what was admitted carries its debit along in dynamic metadata."""
        place = next((int(value) for key, value in context.invocation_metadata() if key == "place"), 0)
        attributes = request.attributes
        http = attributes.request.http
        check = self._rules.place(place).check(
            attributes.context_extensions.get("route", ""), http.host, http.path, http.headers
        )
        if isinstance(check, Refusal):
            return refused(check)
        try:
            refusal = verdict(check, *await self._counters.read(check))
        except CountersUnavailableError:
            return refused(_UNAVAILABLE)
        return refused(refusal) if refusal else admitted(check, place)


def admitted(check: Check, place: int) -> CheckResponse:
    """Let through; the access log hands the metadata to the usage service."""
    response = CheckResponse()
    response.status.code = code_pb2.OK
    fields = response.dynamic_metadata.fields
    fields["admitted"].bool_value = True
    fields[f"debit-{place}"].string_value = check.debit
    return response


def refused(refusal: Refusal) -> CheckResponse:
    """Refuse in the real plugin's words."""
    response = CheckResponse()
    response.status.code = code_pb2.PERMISSION_DENIED
    denied = response.denied_response
    denied.status.code = refusal.status
    denied.body = refusal.body
    headers = (("content-type", refusal.content_type), *refusal.headers)
    denied.headers.extend(HeaderValueOption(header=HeaderValue(key=key, value=value)) for key, value in headers)
    return response


async def serve(port: int, rules: RulesFile, counters: Counters) -> None:
    """Serve until stopped."""
    authorization = Authorization(rules, counters)
    handler = grpc.unary_unary_rpc_method_handler(
        authorization.check, CheckRequest.FromString, CheckResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Run the service."""
    parser = argparse.ArgumentParser(description="stand-in for ai-quota and ai-token-ratelimit: checks")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--rules", type=Path, required=True, help="the compiler's authz.json")
    arguments = parser.parse_args()

    async def run() -> None:
        counters = Counters("127.0.0.1", arguments.redis_port, REDIS_TIMEOUT)
        await serve(arguments.port, RulesFile(arguments.rules), counters)

    uvloop.run(run())


if __name__ == "__main__":
    main()
