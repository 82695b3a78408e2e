"""`python -m bench`: measure, print, draw."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from . import tenants
from .machine import describe
from .measure import Ask, Cell, Effort, Failure, Subject, measure
from .picture import draw
from .report import Rendering, Run, as_text, write_csv, write_json
from .scene import Parts, Scene, gateway, provider, rivals_of
from .stages import BARE
from .workload import LOADS, Load, request_body

# Many short turns: the best of them is what the machine can do when nothing else runs.
_EFFORT = Effort(seconds=0.4, turns=4, rounds=2)
_QUICK = Effort(seconds=0.5, turns=1, rounds=1)
_SIZES = (3, 1000)
_QUICK_SIZES = (3, 30)
_RENDERINGS = 3


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    effort, sizes = (_QUICK, _QUICK_SIZES) if arguments.quick else (_EFFORT, _SIZES)
    parts = Parts(**{name: getattr(arguments, name) for name in Parts.__dataclass_fields__})
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        scene = Scene.at(Path(directory), arguments.base_port, parts)
        asks = [Ask(load, _body(scene.root, load)) for load in LOADS]
        rendering = _rendering(sizes[-1])
        seen, memory = _measured(scene, sizes, asks, effort)
    cells = tuple(each for each in seen if isinstance(each, Cell))
    failures = tuple(each for each in seen if isinstance(each, Failure))
    run = Run(machine, effort, sizes, rendering, cells, failures, memory)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(run, arguments.output / "dataplane.json")
    write_csv(run, arguments.output / "dataplane.csv")
    (arguments.output / "dataplane.txt").write_text(as_text(run), "utf-8")
    draw(run, arguments.output / "dataplane.svg")
    sys.stdout.write(as_text(run))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a try: a minute or two, figures are rough")
    parser.add_argument("--output", type=Path, default=Path("artifacts/bench"))
    parser.add_argument("--base-port", type=int, default=29000)
    for name in Parts.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)
    return parser.parse_args()


def _rendering(projects: int) -> Rendering:
    """Render a site a few times; the fastest says what the code takes, the others what the machine did besides."""
    site = tenants.bench_site(projects, tenants.render(projects).shards)
    secrets = tenants.secrets_for(site)
    seconds = []
    for _ in range(_RENDERINGS):
        started = time.perf_counter()
        tenants.objects_of(site, secrets)
        seconds.append(time.perf_counter() - started)
    return Rendering(projects, tenants.USERS, tuple(seconds), site.gateway.shards)


def _measured(
    scene: Scene, sizes: tuple[int, int], asks: Sequence[Ask], effort: Effort
) -> tuple[list[Cell | Failure], dict[str, float]]:
    """Measure a gateway of each size and the rivals, all in turns; give the cells, and each program's memory in MB."""
    with ExitStack() as stack:
        stack.enter_context(provider(scene))
        gateways: list[tuple[Subject, ...]] = []
        for number, projects in enumerate(sizes):
            _say(f"{projects} Projects: starting")
            gateways.append(stack.enter_context(gateway(scene.another(number), projects)))
        _say("LiteLLM and Portkey: starting")
        rivals = stack.enter_context(rivals_of(scene, sizes[0]))
        # A stage with few Projects and the same with many come one after the other, since they are compared.
        subjects = [*chain.from_iterable(zip(*gateways, strict=True)), *rivals]
        _say(f"measuring {len(subjects)} subjects")
        cells = [_told(cell) for cell in measure(_groups(subjects), asks, effort)]
        programs = dict.fromkeys((subject.program, subject.projects) for subject in subjects)
        return cells, {f"{program.name} ({projects} Projects)": program.memory_mb() for program, projects in programs}


def _groups(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """What is compared with each other; whole chains and rivals with bare Envoy, too."""

    def of(*kinds: str) -> list[Subject]:
        return [subject for subject in subjects if subject.kind in kinds]

    bare = [subject for subject in subjects if subject.name == BARE]
    return [of("step"), of("guards"), of("masking"), [*bare, *of("chain", "rival")]]


def _told(seen: Cell | Failure) -> Cell | Failure:
    what = seen.what if isinstance(seen, Failure) else f"{seen.cpu_us:.0f} us, {seen.per_second:.0f}/s"
    _say(f"{seen.load}, {seen.subject}: {what}")
    return seen


def _body(directory: Path, load: Load) -> Path:
    path = directory / f"{load.name.replace(' ', '-')}.json"
    path.write_bytes(request_body(load))
    return path


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    main()
