"""What a page of comparison says first: three sentences, and what its symbols mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from figures.compare.readings import SYNTHESIS
from shared.comparison.all_checks import CLAIM, Comparison, GridComparison
from shared.comparison.verdict import Finding, Verdict

ASKED = (
    "The question: do small distilled sets gain from easier samples, and large ones from harder ones, where the theory "
    "puts the change?"
)
SYMBOLS = (
    (
        "IPC: synthetic images per class. lambda: coefficient of the correction, above 0 for easier samples, "
        "below 0 for harder ones."
    ),
    (
        "alpha: kept samples per dimension, the theory's measure of how many there are; here IPC x classes / "
        "N_eff, where N_eff, the effective dimension of data and network, is fitted on random subsets alone."
    ),
    (
        "theta, the probe's angle: how far the networks that judge difficulty are from the truth; 0 degrees "
        "knows it, 90 nothing."
    ),
    (
        "p0: the density of margins that the theory says a method keeps. phi: that of real samples. h: how "
        "large a gradient a sample of that margin has. tau: strength of a tilt towards easy samples, tau = c "
        "lambda. beta: how sure a probe is."
    ),
    (
        "S: how fast the test error falls when samples get easier, -d error / d tau; above 0 easier samples "
        "help. The alpha where S changes sign is the critical alpha; 'none' means that the theory predicts "
        "one and the same sign everywhere."
    ),
    "GraDN: mean gradient norm of a sample on networks that never saw it: its difficulty.",
    (
        "p (Holm): probability of such a result by chance, corrected for all checks of the claim on this "
        "page."
    ),
)


def headline(comparison: Comparison, reading: str) -> list[str]:
    """Three sentences that need no symbol: what was asked, what came out, what could not come out."""
    grids = comparison.grids
    if not grids:
        return [ASKED, "No measured grid was given: only published coefficients are judged."]
    return [ASKED, _answer(grids, comparison.pooled, reading), _limits(grids)]


def judged(compared: GridComparison, reading: str) -> Finding | None:
    """The sign check under the reading that is judged."""
    if reading == SYNTHESIS:
        return compared.second
    return next((f for f in compared.findings if f.check == "sign"), None)


def _answer(grids: Sequence[GridComparison], pooled: Sequence[Finding], reading: str) -> str:
    signs = Counter(f.verdict if (f := judged(c, reading)) is not None else None for c in grids)
    words = [
        (Verdict.SUPPORTED, "agrees"), (Verdict.NOT_SUPPORTED, "disagrees"),
        (Verdict.CONSISTENT, "agrees where no trend is predicted"), (Verdict.NOT_IDENTIFIABLE, "cannot be told"),
        (Verdict.MAP_INVALID, "has no place on the theory's axis"), (None, "has no prediction"),
    ]  # fmt: skip
    parts = [f"{signs[verdict]} {text}" for verdict, text in words if signs[verdict]]
    orders = [*pooled] or [f for c in grids for f in c.findings if f.check == "order"]
    told = [f for f in orders if f.verdict in (Verdict.SUPPORTED, Verdict.NOT_SUPPORTED)]
    trend = "whether the best correction falls with the size of the set cannot be told"
    if told:
        does = {Verdict.SUPPORTED: "falls", Verdict.NOT_SUPPORTED: "does not fall"}[told[0].verdict]
        trend = f"the best correction {does} with the size of the set"
    return f"Of {len(grids)} measured grids, the sign of the response ({reading} reading): {', '.join(parts)}; {trend}."


def _limits(grids: Sequence[GridComparison]) -> str:
    """What these grids could not have shown."""
    crossing = [c for c in grids if c.alpha_map.valid and any(c.prediction.critical_alphas())]
    if not crossing:
        return (
            "No crossover is predicted for any of these grids: the theory expects easier samples to help, or to hurt, "
            "at every size, so the trend that is claimed was not tested by them."
        )
    both = [c for c in crossing if _sides(c) == {"+", "-"}]
    if len(both) == len(grids):
        return "Every grid has sizes on both sides of the predicted change, so each could have said no."
    return (
        f"{len(both)} of {len(grids)} grids have sizes on both sides of the predicted change; the others could not "
        "have shown the trend, nor refuted it."
    )


def _sides(compared: GridComparison) -> set[str]:
    finding = next((f for f in compared.findings if f.check == "sign"), None)
    return {row["predicted_sign"] for row in finding.details} - {"undecided"} if finding else set()


def claims_first(finding: Finding) -> int:
    """Order of a table of findings: those of the claim, then the others."""
    return CLAIM.index(finding.check) if finding.check in CLAIM else len(CLAIM)
