"""What is measured, set up on this machine: provider, stand-ins, the gateway and its rivals, on loopback only."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import compile_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.programs import available, install
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import LOOPBACK, Ports, Settings

from . import rivals, stages
from .load import Target
from .measure import Subject
from .processes import DiedError, Program, running, wait_for_port
from .stages import Gateway, Stage
from .tenants import CALLERS, PROVIDER_DOMAIN, Rendered, render
from .workload import LOADS, request_body

WORKERS = 2
_PATH = "/v1/chat/completions"
_START_SECONDS = 300.0
_POLL_SECONDS = 0.5
# What nobody uses up in a run.
_QUOTA = 10**15
# Offsets from the base port; 0 to 8 are the sandbox's own.
_PROVIDER, _LITELLM, _PORTKEY, _STAGES = 10, 11, 12, 20
# More than a gateway has stages.
_PORTS = 100


@dataclass(frozen=True, slots=True)
class Parts:
    """Programs and where they come from."""

    envoy: Path
    provider: Path
    wheels: Path
    guards: Path
    stand_ins: Path
    litellm: Path
    portkey: Path
    python: Path


@dataclass(frozen=True, slots=True)
class Scene:
    """A directory and a range of ports for one gateway, and where the provider of all listens."""

    root: Path
    base_port: int
    provider: tuple[str, int]
    parts: Parts

    @classmethod
    def at(cls, root: Path, base_port: int, parts: Parts) -> Scene:
        """The first one of a run."""
        return cls(root, base_port, (LOOPBACK, base_port + _PROVIDER), parts)

    def another(self, number: int) -> Scene:
        """One for a gateway that runs at the same time."""
        root = self.root / f"gateway-{number}"
        root.mkdir()
        return replace(self, root=root, base_port=self.base_port + number * _PORTS)


@contextmanager
def provider(scene: Scene) -> Iterator[Program]:
    """Run the provider."""
    host, port = scene.provider
    with running("provider", [str(scene.parts.provider), "-listen", f"{host}:{port}"], scene.root) as program:
        wait_for_port(program, port, _START_SECONDS)
        yield program


@contextmanager
def gateway(scene: Scene, projects: int) -> Iterator[tuple[Subject, ...]]:
    """Run the gateway with this many Projects, and what stands in beside it; give one subject a stage."""
    rendered = render(projects)
    root = scene.root / "gateway"
    settings = _settings(scene, root)
    laid = stages.gateway(
        compile_objects(rendered.objects, settings), scene.base_port + _STAGES, settings.config_dir, scene.provider
    )
    _write(laid, settings)
    with ExitStack() as stack:
        beside = _stand_ins(scene, settings, stack)
        envoy = _envoy(scene, settings, stack)
        subjects = tuple(
            Subject(projects, stage.name, stage.kind, _target(stage, rendered), envoy, beside) for stage in laid.stages
        )
        _wait_for_answers(envoy, subjects)
        yield subjects


@contextmanager
def rivals_of(scene: Scene, projects: int) -> Iterator[tuple[Subject, ...]]:
    """Run the rivals, to be measured beside a gateway with this many Projects; give their subjects."""
    litellm = rivals.litellm(
        scene.parts.litellm, scene.root / "litellm.yaml", scene.base_port + _LITELLM, scene.provider, WORKERS
    )
    portkey = rivals.portkey(scene.parts.portkey, scene.base_port + _PORTKEY, scene.provider)
    with ExitStack() as stack:
        subjects: list[Subject] = []
        for rival in (litellm, portkey):
            program = stack.enter_context(running(rival.name, rival.command, scene.root, environment=rival.environment))
            wait_for_port(program, rival.port, _START_SECONDS)
            url = f"http://{LOOPBACK}:{rival.port}{_PATH}"
            mine = [
                Subject(projects, name, "rival", Target(url, headers), program)
                for name, headers in rival.subjects.items()
            ]
            _wait_for_answers(program, mine)
            subjects += mine
        yield tuple(subjects)


def _settings(scene: Scene, root: Path) -> Settings:
    found = available(scene.parts.wheels, scene.parts.guards, scene.parts.stand_ins)
    files, _ = install(found, scene.root / "wasm", dry=False)
    for name in ("envoy", "log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    # The access log is formatted as in the sandbox, but a run would fill a disk with it.
    log = root / "log" / "access.json"
    if not log.is_symlink():
        log.symlink_to(os.devnull)
    return Settings(
        ports=Ports.from_base(scene.base_port),
        config_dir=str(root / "envoy"),
        log_dir=str(root / "log"),
        programs=files,
        endpoints={PROVIDER_DOMAIN: scene.provider},
        concurrency=WORKERS,
    )


def _write(laid: Gateway, settings: Settings) -> None:
    for path, text in laid.files.items():
        file = Path(settings.config_dir) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        _written(file, text.encode())


def _stand_ins(scene: Scene, settings: Settings, stack: ExitStack) -> tuple[Program, ...]:
    """Redis with a balance for the callers, and the services that check and debit it."""
    ports = settings.ports
    command = ["redis-server", "--port", str(ports.redis), "--bind", LOOPBACK, "--save", "", "--dir", str(scene.root)]
    redis = stack.enter_context(running("redis", command, scene.root))
    wait_for_port(redis, ports.redis, _START_SECONDS)
    for caller in CALLERS:
        balance = ["redis-cli", "-p", str(ports.redis), "set", f"chat_quota:{caller.consumer}", str(_QUOTA)]
        subprocess.run(balance, check=True, capture_output=True)
    redis_port = ["--redis-port", str(ports.redis)]
    rules = ["--rules", str(Path(settings.config_dir) / "authz.json")]
    found = [redis]
    for module, port, more in (("authz", ports.authz, rules), ("usage", ports.usage, [])):
        command = [str(scene.parts.python), "-m", f"sandbox.limits.{module}", "--port", str(port), *redis_port, *more]
        program = stack.enter_context(running(module, command, scene.root))
        wait_for_port(program, port, _START_SECONDS)
        found.append(program)
    return tuple(found)


def _envoy(scene: Scene, settings: Settings, stack: ExitStack) -> Program:
    command = [
        str(scene.parts.envoy), "--config-path", f"{settings.config_dir}/bootstrap.json",
        "--concurrency", str(settings.concurrency), "--disable-hot-restart", "--log-level", "warning",
    ]  # fmt: skip
    program = stack.enter_context(running("envoy", command, scene.root))
    wait_for_port(program, settings.ports.admin, _START_SECONDS)
    return program


def _target(stage: Stage, rendered: Rendered) -> Target:
    headers = {"authorization": f"Bearer {rendered.keys[stage.caller.project]}"}
    return Target(f"http://{LOOPBACK}:{stage.port}{_PATH}", headers, stage.caller.host)


def _wait_for_answers(program: Program, subjects: Sequence[Subject]) -> None:
    """Wait until every subject answers as it should; raises DiedError with what it said instead."""
    body = request_body(LOADS[0])
    deadline = time.monotonic() + _START_SECONDS
    for subject in subjects:
        while (said := _answer(subject.target, body)) != "":
            program.check()
            if time.monotonic() > deadline:
                raise DiedError(f"{subject.name} does not answer: {said}\n{program.last_words()}")
            time.sleep(_POLL_SECONDS)


def _answer(target: Target, body: bytes) -> str:
    """Empty when the provider's answer came through, else what came instead."""
    address, _, path = target.url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        headers = {"content-type": "application/json", "host": target.host or address, **target.headers}
        connection.request("POST", f"/{path}", body, headers)
        response = connection.getresponse()
        content = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if response.status == 200 and "completion_tokens" in content else f"{response.status} {content[:300]}"


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
