"""Order parameters of points with correlated noise: what `theory.solve` returns when it is given `noise`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import NotConverged
from theory.saddle_point.kept import Ranked, check_margin, make_rule
from theory.saddle_point.order_parameters import CONVERGED, Solution, check_alpha, check_fraction, check_theta
from theory.synthesis.laws import Atoms, Law, of_atoms, of_rule
from theory.synthesis.noise import Noise, make_noise
from theory.synthesis.saddle_point import solve_curve

Array = NDArray[np.float64]

FAILED = "continuation stopped before this point"


def solve_correlated(
    alpha: ArrayLike,
    fraction: ArrayLike = 1.0,
    keep: Any = "hard",
    theta: ArrayLike = 0.0,
    margin: str = "unsigned",
    *,
    noise: Any,
    raise_on_failure: bool = True,
) -> Solution:
    """What `theory.solve` returns for a `noise`; arguments and errors are described there."""
    check_margin(margin)
    alphas, fractions, thetas = np.broadcast_arrays(check_alpha(alpha), check_fraction(fraction), check_theta(theta))
    fields, failure = correlated(alphas, fractions, keep, thetas, margin, noise)
    if raise_on_failure and failure:
        raise NotConverged(failure)
    return Solution(**fields)


def correlated(
    alphas: Array, fractions: Array, keep: Any, thetas: Array, margin: str, noise: Any
) -> tuple[dict[str, Any], str]:
    """Solve at broadcast `alphas`, `fractions`, `thetas`: the fields of a `theory.Solution`, and a failure or "".

    Raises:
        ValueError: a law, a covariance or measured points that do not fit.
        NotSeparable: measured points that no vector separates.
    """
    covariance = make_noise(noise)
    shape = alphas.shape
    alphas, fractions, thetas = alphas.ravel(), fractions.ravel(), thetas.ravel()
    names = ("kept", "R_prime", "S_prime", "kappa_prime", "residual", "psi1", "support", "dR", "dlength", "length")
    values = {name: np.full(alphas.size, np.nan) for name in names}
    ok = np.zeros(alphas.size, bool)
    beta = np.empty((alphas.size, 0))
    for f, angle in sorted(set(zip(fractions.tolist(), thetas.tolist(), strict=True))):
        where = np.flatnonzero((fractions == f) & (thetas == angle))
        law, kept = law_of(keep, f, angle, margin, covariance)
        increasing, back = np.unique(alphas[where], return_inverse=True)
        found = solve_curve(increasing, law)
        x, tangent, d = found.x, found.tangent, law.d
        across, first = x[:, 2 : 1 + d], x[:, 1]
        outside = np.linalg.norm(across, axis=1)
        length = np.sqrt(1.0 + outside**2)
        if beta.shape[1] != law.K:
            beta = np.full((alphas.size, law.K), np.nan)
        columns = {
            "kept": np.full(increasing.size, kept),
            "R_prime": first,
            "S_prime": across[:, 0] if d == 2 else outside,
            "kappa_prime": x[:, 0],
            "residual": found.residual,
            "psi1": found.means[:, 0],
            "support": increasing * found.means[:, 1],
            "dR": tangent[:, 1],
            "dlength": np.sum(across * tangent[:, 2 : 1 + d], axis=1) / length,
            "length": length,
        }
        for name, column in columns.items():
            values[name][where] = column[back]
        beta[where] = x[back][:, 1 + d :]
        ok[where] = found.converged[back]
    return _fields(alphas, thetas, keep, margin, values, beta, ok, shape), _failure(alphas, fractions, thetas, keep, ok)


def law_of(keep: Any, fraction: float, theta: float, margin: str, noise: Noise) -> tuple[Law, float]:
    """The law of kept points at one fraction and angle, and the fraction that it keeps."""
    if isinstance(keep, Atoms):
        if fraction != 1.0 or theta != 0.0:
            raise ValueError(
                f"fraction {fraction:g} and theta {theta:g} go with a selection; Atoms are measured points "
                "along the teacher"
            )
        return of_atoms(keep, noise), 1.0
    selection = make_rule(keep, fraction)
    rule = selection.resolve(theta, margin)
    kept = rule.fraction if not isinstance(selection, Ranked) else selection.fraction
    return of_rule(selection, rule, theta, margin, noise), kept


def _fields(
    alphas: Array,
    thetas: Array,
    keep: Any,
    margin: str,
    values: dict[str, Array],
    beta: Array,
    ok: NDArray[np.bool_],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    R, S, length, kappa = (values[name] for name in ("R_prime", "S_prime", "length", "kappa_prime"))
    q = 1.0 / np.hypot(length, R)
    error = np.arctan2(length, R) / np.pi
    slope = (R * values["dlength"] - length * values["dR"]) * q**2 / np.pi
    rho = q * (R * np.cos(thetas) + S * np.sin(thetas))

    def shaped(column: NDArray[Any]) -> Any:
        return column.reshape(shape) if shape else column[0].item()

    return {
        "alpha": shaped(alphas),
        "fraction": shaped(values["kept"]),
        "theta": shaped(thetas),
        "keep": keep,
        "margin": margin,
        "R": shaped(q * R),
        "rho": shaped(np.full_like(R, math.nan) if isinstance(keep, Atoms) else rho),
        "kappa": shaped(q * kappa),
        "test_error": shaped(error),
        "residual": shaped(values["residual"]),
        "status": shaped(np.where(ok, CONVERGED, FAILED)),
        "R_prime": shaped(R),
        "S_prime": shaped(S),
        "kappa_prime": shaped(kappa),
        "support": shaped(values["support"]),
        "identity": shaped(alphas * kappa * q**2 * values["psi1"] + values["support"]),
        "local_exponent": shaped(-slope / error),
        "beta_prime": beta.reshape(*shape, beta.shape[1]) if shape else beta[0],
    }


def _failure(alphas: Array, fractions: Array, thetas: Array, keep: Any, ok: NDArray[np.bool_]) -> str:
    if ok.all():
        return ""
    k = int(np.flatnonzero(~ok)[0])
    named = keep if isinstance(keep, str) else type(keep).__name__
    return (
        f"{int((~ok).sum())} of {ok.size} points with correlated noise did not converge, first at alpha {alphas[k]:g}, "
        f"fraction {fractions[k]:g}, theta {thetas[k]:g}, keep {named!r}"
    )
