"""`theory.solve`: the one face of the saddle points of independent samples and of samples whose noise is correlated.

Independent samples are `theory.saddle_point.order_parameters`, correlated noise is `theory.synthesis`, which builds on
the former and is imported when it is asked for.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from theory.saddle_point import order_parameters
from theory.saddle_point.kept import Rule
from theory.saddle_point.order_parameters import Solution


def solve(
    alpha: ArrayLike,
    fraction: ArrayLike = 1.0,
    keep: str | Rule = "hard",
    theta: ArrayLike = 0.0,
    margin: str = "unsigned",
    *,
    noise: Any = None,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve the saddle point; `alpha`, `fraction` and `theta` broadcast against each other.

    Args:
        alpha: KEPT samples per dimension, P / D > 0 (not the pool's).
        fraction: kept fraction f of the pool, in (0, 1]; for `keep` "hard" and "easy".
        keep: `"hard"` (smallest margins), `"easy"` (largest), `"random"`, or a rule of `theory.saddle_point.kept`.
        theta: angle between probe and teacher in radians, [0, pi/2].
        margin: `"unsigned"` ranks by |z| (published convention), `"signed"` by y z (another model for theta > 0).
        noise: covariance of the samples outside the plane of teacher and probe (`theory.Matched`, `theory.LowRank`,
            `theory.CommonDirection`, `theory.Independent`, or several in a list, which add up); None: independent
            samples. With it `keep` may be measured points, `theory.Atoms`.
        raise_on_failure: raise `NotConverged` if any point has not converged; otherwise its fields are NaN and its
            `status` says why.

    Returns:
        `Solution`, of floats when all three inputs are scalars, else of arrays of the broadcast shape.

    Raises:
        ValueError: a value out of range or an unknown name; a covariance that is not positive or does not fit.
        NotConverged: see `raise_on_failure`.
        NotSeparable: measured points that no vector separates.

    >>> from theory import solve
    >>> round(solve(2.0, 0.3, "easy").test_error, 6)
    0.095205
    """
    if noise is None:
        return order_parameters.solve(alpha, fraction, keep, theta, margin, raise_on_failure=raise_on_failure)
    from theory.synthesis.observables import solve_correlated

    return solve_correlated(alpha, fraction, keep, theta, margin, noise=noise, raise_on_failure=raise_on_failure)
