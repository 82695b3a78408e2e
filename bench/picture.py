"""The picture: CPU a request, filter by filter, beside the rivals; one panel a load."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .figures import MissingFigureError
from .report import Run
from .stages import BARE, GUARDS, chain, masking
from .tenants import BUILT_IN, OWN, UNMASKED
from .workload import LOADS

_OURS, _BUILT_IN, _STAND_IN, _TOTAL, _RIVAL = "#1b7f5c", "#3a6ea5", "#b8b8b8", "#222222", "#c4572e"
_LEGEND = {
    "our guards": _OURS,
    "Higress's own filters, real": _BUILT_IN,
    "stand-ins and the sandbox's own": _STAND_IN,
    "whole gateway": _TOTAL,
    "instead of it": _RIVAL,
}
# Smaller differences are noise, and a logarithmic axis has no place for 0.
_LEAST_US = 1.0
_ROOM_FOR_LABELS = 8


def draw(run: Run, path: Path) -> None:
    """Draw a run with its smaller number of Projects."""
    figure, panels = plt.subplots(2, 2, figsize=(15, 11), layout="constrained")
    for panel, load in zip(panels.flat, LOADS, strict=True):
        _panel(panel, run, load.name)
    machine = run.machine
    where = f"{machine.cores} cores, {machine.processor}; {machine.time}"
    figure.suptitle(f"CPU a request, filter by filter ({run.sizes[0]} Projects; {where})")
    handles = [Rectangle((0, 0), 1, 1, color=color) for color in _LEGEND.values()]
    figure.legend(handles, list(_LEGEND), loc="outside lower center", ncols=len(_LEGEND))
    figure.savefig(path)
    plt.close(figure)


def _panel(panel: Axes, run: Run, load: str) -> None:
    figures, projects = run.figures, run.sizes[0]
    bars = [(figure.subject, added, _color(figure.subject)) for figure, added in figures.steps(projects, load)]
    found = figures.of(projects, load)
    try:
        bars.append(("the four guards together", figures.guards_us(projects, load), _OURS))
        bars.append((masking(BUILT_IN.engine), figures.masking_us(projects, load, BUILT_IN.engine), _BUILT_IN))
    except MissingFigureError:
        # Told in the table; the picture shows what there is.
        panel.set_xlabel("incomplete")
    whole = [chain(engine) for engine in (UNMASKED.engine, BUILT_IN.engine, OWN.engine) if chain(engine) in found]
    bars += [(name, found[name].cpu_us, _TOTAL) for name in whole]
    bars += [(figure.subject, figure.cpu_us, _RIVAL) for figure in found.values() if figure.kind == "rival"]
    names, values, colors = zip(*bars, strict=True)
    panel.barh(names, [max(value, _LEAST_US) for value in values], color=colors)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlabel("CPU microseconds a request")
    panel.set_title(f"{load} request")
    panel.bar_label(panel.containers[0], [f"{value:,.0f}" for value in values], padding=3, fontsize=8)  # type: ignore[arg-type]
    panel.set_xlim(_LEAST_US, max(values) * _ROOM_FOR_LABELS)


def _color(step: str) -> str:
    if step == BARE:
        return _TOTAL
    if "stand-in" in step or not step.startswith("+ "):
        return _STAND_IN
    return _OURS if step.removeprefix("+ ") in (*GUARDS, "data-masking") else _BUILT_IN
