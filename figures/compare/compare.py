"""``python -m figures compare RUNS...``: predicted against measured lambda / IPC trends, on one page.

RUNS are folders of recorded runs, or CSV files of a grid (columns: `shared.comparison.grid`). LABEL=PATH keeps a source
apart from the others under that label, so that one method on one data set can be judged twice, such as at two widths of
the network: each label has its own random subsets, whole set and map. Writes compare.md, compare.html (self-contained),
compare.json and the figures. ``--published`` judges the published tuned coefficients alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from figures.compare.overview import overview_figure
from figures.compare.page import Block, Bullets, Heading, Paragraph, Picture, Table, to_html, to_markdown
from figures.compare.panels import comparison_figure, published_figure
from figures.compare.predicted import BETA, angle_band, predict, random_curve
from figures.compare.readings import READINGS, SCHEDULE, SELECTION, SYNTHESIS, synthesis_reading
from figures.compare.story import SYMBOLS, claims_first, headline
from figures.limits import refuse_excess
from figures.names import stem
from figures.registry import command
from shared.comparison.all_checks import Comparison, GridComparison, check_trend, compare, compare_grid
from shared.comparison.alpha_map import AlphaMap, fit_alpha_map
from shared.comparison.grid import ACCURACIES, BadGrid, Grid, Measurement, divergences, grids, read_csv
from shared.comparison.prediction import Prediction
from shared.comparison.published_table import PublishedOrder, published_orders, read_tuned
from shared.comparison.run_grid import read_runs
from shared.comparison.sign_check import sign_check
from shared.comparison.verdict import Finding
from shared.records.recorded import NOT_FINISHED, LeftOut
from shared.records.records import plain
from shared.terminal.arguments import typed_path
from shared.terminal.atomic import write_atomically
from shared.terminal.command import refuse_folder
from shared.terminal.progress import reporting
from theory.vocabulary import nearest

ASSUMED = "the errors of the matching networks were not recorded: a perfect probe is assumed; --theta-deg sets a band"
NO_ANGLE = "without a valid map the matching networks' errors give no angle: a perfect probe is assumed"
TYPED = "the probe's angle was typed (--theta-deg), not measured"
UNTRAINED = "probe angle: every network was matched as it was initialised, with an error of {high:.0%} on real images"
STAND_IN = (
    "probe angles: networks were matched at all stages of training and their errors are not recorded; the difficulty "
    "probe's networks stand for them, from {high:.0%} error on real images (untrained) down to {low:.0%} (trained "
    "briefly), so the band is wide and its middle a guess; --theta-deg sets another"
)
AGAINST = ("lambda", "relative_pull")
TITLE = "Predicted against measured: the gain of easy samples over lambda and images per class"


@command("compare")
@dataclass(frozen=True)
class Compare:
    """Compare recorded runs with the theory: compare.md, compare.html, compare.json."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of runs, or CSV files of a grid; LABEL=PATH to keep one apart."""
    published: bool = False
    """Judge the published tuned coefficients (with RUNS: beside them)."""
    table: Path | None = None
    """With --published: another table of tuned coefficients (dataset, method, ipc, coefficient)."""
    out: Path = Path("output/compare")
    """Folder to write to."""
    reading: str = SELECTION
    """Which reading of the theory the first sentences judge: selection (the published one) or synthesis; the other
    stands beside it."""
    against: str = "lambda"
    """What measures the strength of the correction: lambda or relative_pull."""
    accuracy: str = "accuracy"
    """accuracy, accuracy_last or accuracy_validated."""
    theta_deg: tuple[float, float] | None = None
    """Band of the probe's angle in degrees; by default from the recorded errors of the matching networks, or 0."""
    beta: float = BETA
    """Confidence of the theory's probe."""
    resamples: int = 1000
    """Of every bootstrap."""
    seed: int = 0
    """Of the resampling."""

    def run(self) -> None:
        """Compare; ValueError, before any long work, if an input is wrong."""
        self._check()
        measurements, left_out = read(self.runs)
        measured = grids(measurements, self.accuracy) if self.runs else []
        for grid in measured:
            check_trend(grid)
            grid.strength(self.against)  # refuses what was not recorded
        table = published_orders(read_tuned(self.table), max(self.resamples, 200), self.seed) if self.published else ()
        self.out.mkdir(parents=True, exist_ok=True)
        comparison = compare([self._compared(grid) for grid in measured], self.resamples, self.seed)
        files = write_page(comparison, table, self.out, self._settings(), left_out)
        for finding in all_findings(comparison, table):
            print(f"{finding[0]}: {finding[1].check}: {finding[1].verdict} ({finding[1].interval})")
        print("wrote " + ", ".join(str(f) for f in files))

    def _check(self) -> None:
        if not self.runs and not self.published:
            raise ValueError("nothing to compare: name folders of runs or CSV files, or ask for --published")
        if self.table is not None and not self.published:
            raise ValueError("--table goes with --published")
        for flag, value, allowed in (
            ("against", self.against, AGAINST), ("accuracy", self.accuracy, ACCURACIES),
            ("reading", self.reading, READINGS),
        ):  # fmt: skip
            if value not in allowed:
                raise ValueError(f"--{flag} is {value!r}, must be one of {', '.join(allowed)}{nearest(value, allowed)}")
        if self.theta_deg is not None and not 0.0 <= self.theta_deg[0] <= self.theta_deg[1] <= 90.0:
            raise ValueError(f"--theta-deg is {self.theta_deg}, must be two angles with 0 <= low <= high <= 90 degrees")
        if not (math.isfinite(self.beta) and self.beta > 0.0):
            raise ValueError(f"--beta is {self.beta:g}, must be positive")
        if self.resamples < 100 or self.seed < 0:
            raise ValueError(f"--resamples is {self.resamples} and --seed {self.seed}: must be >= 100 and >= 0")
        refuse_excess(resamples=self.resamples, seed=self.seed)
        refuse_folder(self.out)

    def _settings(self) -> dict[str, Any]:
        return {
            "runs": [str(r) for r in self.runs], "reading": self.reading, "against": self.against,
            "accuracy": self.accuracy,
            "beta": self.beta, "theta_deg": self.theta_deg, "resamples": self.resamples, "seed": self.seed,
        }  # fmt: skip

    def _compared(self, grid: Grid) -> GridComparison:
        weighted = grid.family == "gradient"
        cache = self.out / "predictions"
        with reporting(None, f"predicting {grid.name}") as report:
            plain_map = fit_alpha_map(grid.random, grid.whole, grid.classes, random_curve())
            band, notes = self._band(grid, plain_map)
            signed = predict(weighted, band, "signed", self.beta, cache=cache, report=report)
            middle = band[len(band) // 2 :][:1]
            beside = [predict(weighted, middle, "unsigned", self.beta, cache=cache, report=report)]
            beside += [predict(not weighted, middle, "signed", self.beta, cache=cache, report=report)]
        found = compare_grid(grid, signed, beside, self.against, self.resamples, self.seed)
        learnt, known = synthesis_reading(grid, band, ASSUMED not in notes and NO_ANGLE not in notes), SCHEDULE
        second = None
        if isinstance(learnt, str):
            known = f"no synthesis reading: {learnt}"
        elif found.alpha_map.valid:
            second = replace(sign_check(grid, found.alpha_map, learnt, self.against), check="sign, synthesis reading")
            known = f"the synthesis reading was {SCHEDULE}"
        return replace(found, second=second, notes=(*notes, known, *found.notes))

    def _band(self, grid: Grid, alpha_map: AlphaMap) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """The angles to solve for, and what a reader should know of them."""
        if self.theta_deg is not None:
            return angle_band(*(math.radians(t) for t in self.theta_deg)), (TYPED,)
        errors = probe_errors(grid)
        if errors is None or not alpha_map.valid:
            return (0.0,), (ASSUMED if alpha_map.valid else NO_ANGLE,)
        low, high = errors
        source = UNTRAINED if low == high else STAND_IN
        return angle_band(alpha_map.angle(low), alpha_map.angle(high)), (source.format(low=low, high=high),)


def read(paths: Sequence[Path]) -> tuple[list[Measurement], list[str]]:
    """Measurements of folders and CSV files, and sentences on what was left out; the first says how much.

    Raises:
        BadGrid: a path is neither, or holds nothing readable.
    """
    sources: dict[str, list[Path]] = {}
    for given in paths:
        label, path = labelled(given)
        if not (path.is_dir() or path.is_file()):
            raise BadGrid(f"{path} does not exist; RUNS are folders of runs or CSV files of a grid")
        sources.setdefault(label, []).append(path)
    measurements: list[Measurement] = []
    without: list[LeftOut] = []
    for label, own in sources.items():
        found, missing = read_runs(*[path for path in own if path.is_dir()])
        found += [m for path in own if path.is_file() for m in read_csv(path)]
        measurements += [replace(m, dataset=f"{m.dataset} ({label})") for m in found] if label else found
        without += missing
    return measurements, left_out_of(measurements, without)


def labelled(given: Path) -> tuple[str, Path]:
    """(label, path) of LABEL=PATH; no label for a path that exists as it stands, or that has none."""
    label, separator, path = str(given).partition("=")
    if given.exists() or not separator or not label.strip():
        return "", given
    return label.strip(), typed_path(path, f"the path of {label.strip()}")


def left_out_of(measurements: Sequence[Measurement], without: Sequence[LeftOut]) -> list[str]:
    """What does not enter the comparison, and why: how many runs, then each that is not merely unfinished."""
    diverged = {(m.method, m.dataset, m.ipc, m.coefficient, m.seed) for m in measurements if m.diverged}
    unfinished = [run.folder.name for run in without if run.why == NOT_FINISHED]
    others = [str(run) for run in without if run.why != NOT_FINISHED]
    counts = {"diverged": len(diverged), "not finished": len(unfinished), "for another reason": len(others)}
    total = sum(counts.values())
    if not total:
        return []
    said = ", ".join(f"{count} {why}" for why, count in counts.items() if count)
    shown = ", ".join(unfinished[:5]) + (", ..." if len(unfinished) > 5 else "")
    return [
        f"{total} {'run was' if total == 1 else 'runs were'} left out: {said}",
        *divergences(measurements),
        *([f"not finished: {shown}"] if unfinished else []),
        *others,
    ]


def probe_errors(grid: Grid) -> tuple[float, float] | None:
    """Smallest and largest error of the networks used for matching, over the grid; None if not recorded."""
    low, high = (grid.per_run.get(f"probe_error_{end}", np.zeros(0)) for end in ("low", "high"))
    if not (np.any(np.isfinite(low)) and np.any(np.isfinite(high))):
        return None
    return float(np.nanmin(low)), float(np.nanmax(high))


def all_findings(comparison: Comparison, table: Sequence[PublishedOrder]) -> list[tuple[str, Finding]]:
    """Every finding with the name of what it is about; those that test the claim first, then how it comes about."""
    found = []
    for compared in comparison.grids:
        own = sorted(compared.findings, key=claims_first)
        more = [compared.second] if compared.second is not None else []
        found += [(compared.grid.name, f) for f in (*own[:1], *more, *own[1:])]
    found += [("all grids", f) for f in comparison.pooled]
    return found + [("published tables", order.finding) for order in table]


def _summary(findings: Sequence[tuple[str, Finding]]) -> Table:
    return Table(
        [
            {
                "what": name, "check": f.check, "verdict": str(f.verdict), "value [95 %]": f.interval,
                "p": f.p, "p (Holm)": f.adjusted, "could have been seen": f.detectable,
            }
            for name, f in findings
        ]
    )  # fmt: skip


def _grid_blocks(compared: GridComparison, picture: Path) -> list[Block]:
    grid, found, prediction = compared.grid, compared.alpha_map, compared.prediction
    band = ", ".join(f"{math.degrees(t):.0f}" for t in prediction.theta)
    blocks: list[Block] = [Heading(grid.name)]
    if found.valid:
        blocks.append(
            Paragraph(
                f"alpha = IPC x {found.classes} / N_eff with N_eff = {found.n_eff:.3g} [{found.low:.3g}, "
                f"{found.high:.3g}], fitted on random subsets alone; root mean square residual {found.residual:.3f} "
                f"where chance is 0.5. Theory: {prediction.name}; probe angles {band} degrees; critical alphas "
                f"{_critical(prediction)}."
            )
        )
    else:
        blocks.append(Paragraph("Map invalid: " + "; ".join(found.problems) + "."))
    blocks.append(Picture(picture, f"{grid.name}: map, gains, slopes, agreement, best lambda, difficulty"))
    shown = [*compared.findings[:1], *([compared.second] if compared.second else []), *compared.findings[1:]]
    blocks.append(Bullets([f"{f.check}: {f.verdict}. {f.sentence}" for f in shown]))
    sign = next(f for f in compared.findings if f.check == "sign")
    if sign.details:
        blocks += [Heading("Slopes by images per class", 3), Table(sign.details)]
    if compared.beside:
        rows = [{"prediction": name, "sign check": str(f.verdict), "value": f.interval} for name, f in compared.beside]
        blocks += [Heading("The sign check under other forms of the selection reading, not judged", 3), Table(rows)]
    if compared.notes:
        blocks += [Heading("Notes", 3), Bullets(compared.notes)]
    return blocks


def _critical(prediction: Prediction) -> str:
    return ", ".join(
        f"{'/'.join(f'{a:.3g}' for a in places) or 'none'} at {math.degrees(theta):.0f} degrees"
        for theta, places in zip(prediction.theta, prediction.critical_alphas(), strict=True)
    )


def write_page(
    comparison: Comparison,
    table: Sequence[PublishedOrder],
    out: Path,
    settings: dict[str, Any],
    left_out: Sequence[str] = (),
    draw: Callable[[GridComparison, Path, str], list[Path]] = comparison_figure,
) -> list[Path]:
    """Write figures, compare.md, compare.html, compare.json; returns the last three."""
    blocks: list[Block] = [Heading(TITLE, 1)]
    findings = all_findings(comparison, table)
    pictures = []
    for k, compared in enumerate(comparison.grids):
        name = stem(f"{k + 1:02d}-{compared.grid.method}-{compared.grid.dataset}")
        pictures.append(next(p for p in draw(compared, out / "figures", name) if p.suffix == ".png"))
    reading = str(settings.get("reading", SELECTION))
    blocks += [Paragraph(sentence) for sentence in headline(comparison, reading)]
    if comparison.grids:
        first = overview_figure(comparison, out / "figures")
        blocks.append(Picture(first, "each grid: response to easier samples, measured, against the predicted sign"))
    other = SYNTHESIS if reading == SELECTION else SELECTION
    blocks += [
        Heading("Every check"),
        Paragraph(
            f"Judged: the {reading} reading, chosen before the data; the {other} reading stands beside it. The words "
            "were fixed before the data: supported; consistent, trend not tested (the prediction has one sign wherever "
            "the data are); not supported; not identifiable (the data cannot tell); stays (no change, and one that "
            "matters is excluded); map invalid. Values are oriented such that positive agrees with the theory; the "
            "last column is the size of an effect that would have been found with a probability of 80 %."
        ),
        _summary(findings),
        Heading("What the symbols mean"), Bullets(SYMBOLS),
    ]  # fmt: skip
    for compared, picture in zip(comparison.grids, pictures, strict=True):
        blocks += _grid_blocks(compared, picture)
    for finding in comparison.pooled:
        blocks += [Heading(finding.check), Paragraph(f"{finding.verdict}. {finding.sentence}"), Table(finding.details)]
    if table:
        picture = next(p for p in published_figure(table[0], out / "figures") if p.suffix == ".png")
        blocks += [
            Heading("Published tuned coefficients"),
            Bullets([f"{f.check}: {f.verdict}. {f.sentence} {f.interval}." for f in [o.finding for o in table]]),
            Picture(picture, "tuned coefficient against images per class"),
        ]
    assumptions = [
        (
            "A matching method is read as a kept density, the correction as a tilt exp(-tau h) of it with tau = c "
            "lambda: an assumption, tested by the two arrows (lambda lowers difficulty; lower difficulty helps or "
            "hurts)."
        ),
        (
            "The theory is that of a max-margin perceptron on selected samples; networks and synthesised images enter "
            "only through N_eff, the angle band and c."
        ),
    ]
    blocks += [Heading("What was left out"), Bullets(left_out or ["Nothing: every run that was found is compared."])]
    blocks += [Heading("What this rests on"), Bullets(assumptions)]
    content = {
        "title": TITLE, "settings": settings, "grids": [_as_json(c) for c in comparison.grids],
        "pooled": [plain(f) for f in comparison.pooled], "published": [plain(order) for order in table],
        "headline": headline(comparison, reading),
        "left_out": list(left_out),
    }  # fmt: skip
    return [
        write_atomically(out / "compare.md", to_markdown(blocks, out)),
        write_atomically(out / "compare.html", to_html(blocks, TITLE)),
        write_atomically(out / "compare.json", json.dumps(plain(content), indent=1, allow_nan=False) + "\n"),
    ]


def _as_json(compared: GridComparison) -> dict[str, Any]:
    grid, gains = compared.grid, compared.gains
    return {
        "method": grid.method, "dataset": grid.dataset, "family": grid.family, "ipc": grid.ipc,
        "coefficient": grid.coefficient, "alpha_map": compared.alpha_map, "prediction": compared.prediction.name,
        "theta": compared.prediction.theta, "critical_alpha": compared.prediction.critical_alphas(),
        "findings": list(compared.findings), "second": compared.second, "beside": dict(compared.beside),
        "gains": None if gains is None else {
            "lambda": grid.coefficient[grid.others], "measured": gains.measured, "predicted": gains.predicted,
            "c": gains.scale,
        },
        "notes": compared.notes,
    }  # fmt: skip
