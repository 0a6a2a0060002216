"""The page of a comparison: one file that opens without a network, with its pictures in it.

Whatever comes from a run's files is escaped. And no script is run but the page's own, which is named by its hash: a
run's folder may have been somebody else's.
"""

from __future__ import annotations

import math
import shlex
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any

from lightning_lr.plots.runs import look

from ..schema.places import command as command_of
from .look import SCRIPT, STYLE
from .measures import MEASURES, Measure
from .reading import Run
from .study import Study, versions_of
from .table import cell, members

_HOW = """Each figure is the mean over the runs that differ in nothing but their seed, ± the standard deviation of a
sample (divided by n - 1); of one run there is none. Groups are held against the first by a t-test, two-sided: paired
where both have the same seeds, else Welch's, with Holm's correction for several tests; below p = 0.05 a difference is
called more than noise. The 95 % interval is that of one test, without correction. The noise is the training's: all runs
are tested on the same samples, and how far these stand for others is not in it. Updates to the target are those before
the first validation at it or above."""


@dataclass(frozen=True)
class _Cell:
    """What is shown, and what it is sorted by: a number, a text, or nothing, which stays at the end."""

    html: str
    value: float | str | None = None
    kind: str = ""


def page(study: Study, pictures: Mapping[str, bytes], command: str, *, drawn: int) -> str:
    """Return the page.

    Args:
        study: What was compared.
        pictures: PNGs by their names.
        command: What reproduces it.
        drawn: How many groups are in the pictures, the first ones.
    """
    title = f"{study.size} compared"
    sections = [
        f"<h1>{title}</h1>",
        f'<p class="verdict">{escape(study.verdict)}</p>',
        f'<p class="grey">{escape(study.about_target())}</p>',
        *_remarks(study.remarks()),
        "<h2>Groups</h2>",
        _groups(study, drawn),
        f'<p class="grey">{escape(_HOW)}</p>',
        *(_picture(name, png) for name, png in pictures.items()),
        *_differences(study),
        "<h2>Runs</h2>",
        _runs(study),
        "<h2>Reproduce</h2>",
        "<p>This comparison:</p>",
        f"<pre>{escape(command)}</pre>",
        *_commands(study),
        *_versions(study),
    ]
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src {_hash(STYLE)}; \
script-src {_hash(SCRIPT)}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
<script>{SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _remarks(remarks: Sequence[str]) -> list[str]:
    if not remarks:
        return []
    return ["<h2>Notes</h2>", f"<ul>{''.join(f'<li>{escape(remark)}</li>' for remark in remarks)}</ul>"]


def _groups(study: Study, drawn: int) -> str:
    measures = study.measures()
    head = [("group", "text"), ("n", "number"), ("against the first", "text"), ("p", "number"), ("members", "number")]
    head += [(measure.heading, "number") for measure in measures]
    rows = []
    for place, (group, standing) in enumerate(zip(study.groups, study.standings, strict=True)):
        p = study.contests[place - 1].p if place else None
        label = (_swatch(place) if place < drawn else "") + _breakable(group.label)
        cells = [
            _Cell(label, group.label, "text label"),
            _Cell(str(len(group.runs)), len(group.runs)),
            _Cell(escape(standing), standing, "text"),
            _Cell("" if p is None else f"{p:.2g}", p),
            _Cell(members(group), max(run.members for run in group.runs)),
            *(_figure(study, place, measure) for measure in measures),
        ]
        rows.append(("first" if place == 0 and len(study.groups) > 1 else "", cells))
    return _table(head, rows)


def _figure(study: Study, place: int, measure: Measure) -> _Cell:
    group = study.groups[place]
    found = study.summary(group, measure)
    return _Cell(escape(cell(study, group, measure)), found.mean if math.isfinite(found.mean) else None)


def _swatch(place: int) -> str:
    """The line that stands for a group in the pictures."""
    color, dashes = look(place)
    pattern = f' stroke-dasharray="{" ".join(f"{2 * dash:g}" for dash in dashes)}"' if dashes else ""
    line = f'<line x1="0" y1="5" x2="32" y2="5" stroke="{color}" stroke-width="3"{pattern}/>'
    return f'<svg class="swatch" viewBox="0 0 32 10" aria-hidden="true">{line}</svg>'


def _picture(name: str, png: bytes) -> str:
    by_time = name.startswith("seconds")
    what = "Validation accuracy" if by_time else "Validation loss, learning rate and validation accuracy"
    axis = "seconds since the fit began" if by_time else "optimizer updates"
    caption = f"{what} against {axis}: the mean of each group's runs, in a band from the lowest to the highest."
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    heading = f"<h2>Against {'seconds' if by_time else 'updates'}</h2>"
    image = f'<div class="picture"><img alt="{caption}" src="{source}"></div>'
    return f"{heading}<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _differences(study: Study) -> list[str]:
    keys = [*study.groups[0].differences]
    if not keys:
        return []
    head = [("group", "text"), *((key.removesuffix("._target_"), "text") for key in keys)]
    rows = []
    for group in study.groups:
        values = [group.differences[key] for key in keys]
        rows.append(("", [_text(group.label, "text label"), *(_text(value) for value in values)]))
    return ["<h2>What the groups differ in</h2>", _table(head, rows)]


def _runs(study: Study) -> str:
    scores = [MEASURES[f"{of}.{score}"] for of in ("ensemble", "last") for score in ("accuracy", "nll", "ece")]
    times = [MEASURES[key] for key in ("steps", "seconds", "fit_seconds", "steps_to_target", "seconds_to_target")]
    measures = [each for each in (*scores, *times) if each in study.measures()]
    with_validation = any(run.curves.accuracy for run in study.found.runs)
    validation = ["validation %", "best validation %"] if with_validation else []
    head = [("run", "text"), ("group", "text"), ("seed", "text")]
    head += [(name, "number") for name in (*(each.heading for each in measures), *validation)]
    rows = []
    for group in study.groups:
        for run, repeats in [*((run, None) for run in group.runs), *group.duplicates]:
            name = run.name if repeats is None else f"{run.name} (repeats {repeats.name}, not counted)"
            cells = [_text(name, "text label"), _text(group.label, "text label"), _text(str(run.seed))]
            cells += [_number(each, each.of(run, study.target)) for each in measures]
            if with_validation:
                logged = [value for _, value in run.curves.accuracy]
                both = (logged[-1], max(logged)) if logged else (None, None)
                cells += [_number(MEASURES["last.accuracy"], value) for value in both]
            rows.append(("" if repeats is None else "repeat", cells))
    return _table(head, rows)


def _number(measure: Measure, value: float | None) -> _Cell:
    known = value is not None and math.isfinite(value)
    return _Cell("-" if value is None else measure.written(value), value if known else None)


def _text(text: str, kind: str = "text") -> _Cell:
    return _Cell(_breakable(text), text, kind)


def _breakable(text: str) -> str:
    """Escaped, and to be broken where a reader would break it."""
    escaped = escape(text)
    for mark in "=/_":  # none of them is in what escaping writes
        escaped = escaped.replace(mark, f"{mark}<wbr>")
    return escaped


def _commands(study: Study) -> list[str]:
    """Of each group the command of its first run, and the seeds of all."""
    told = []
    for group in study.groups:
        if (said := _command(group.runs)) is not None:
            told.append(f"<p>{escape(group.label)}:</p><pre>{escape(said)}</pre>")
    return ["<details><summary>The commands of the runs</summary>", *told, "</details>"] if told else []


def _command(runs: Sequence[Run]) -> str | None:
    overrides = runs[0].overrides
    if overrides is None:
        return None
    kept = [each for each in overrides if not each.startswith(("seed=", "hydra."))]
    seeds = [str(run.seed) for run in runs]
    many = ["-m"] if len(seeds) > 1 else []
    return shlex.join([*command_of("train"), *many, *kept, f"seed={','.join(seeds)}"])


def _versions(study: Study) -> list[str]:
    versions = versions_of(study.found.runs)
    said = [f"{name} {', '.join(sorted(values))}" for name, values in sorted(versions.items())]
    devices = sorted({run.device for run in study.found.runs if run.device})
    lines = [*([f"Trained on {', '.join(devices)}."] if devices else []), *([f"{'; '.join(said)}."] if said else [])]
    return [f'<p class="grey">{escape(line)}</p>' for line in lines]


def _table(head: Sequence[tuple[str, str]], rows: Iterable[tuple[str, Sequence[_Cell]]]) -> str:
    """A table that can be sorted; without its script it stands as it is."""
    heads = "".join(
        f'<th scope="col" data-kind="{kind}" class="{kind}">{escape(heading)}</th>' for heading, kind in head
    )
    body = "\n".join(f"<tr{_attribute('class', kind)}>{''.join(map(_cell, cells))}</tr>" for kind, cells in rows)
    made = f'<table class="sortable">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
    return f'<div class="wide" tabindex="0">{made}</div>'


def _cell(of: _Cell) -> str:
    value = "" if of.value is None else _attribute("data-value", f"{of.value}")
    return f"<td{_attribute('class', of.kind)}{value}>{of.html}</td>"


def _attribute(name: str, value: Any) -> str:
    return f' {name}="{escape(value, quote=True)}"' if value else ""
