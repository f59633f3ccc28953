"""A good guess of the support vectors: over-relaxed dual coordinate descent in single precision.

The dual of `min |w|^2 / 2 subject to z_i.w >= 1` is `max sum(lam) - |Z^T lam|^2 / 2, lam >= 0`. One
coordinate at a time, with w = Z^T lam kept up to date,

    lam_i <- max(0, lam_i - omega (z_i.w - 1) / |z_i|^2),        1 <= omega < 2,

which is Gauss-Seidel at omega = 1 (Hsieh et al., "A dual coordinate descent method for large-scale linear
SVM", ICML 2008) and successive over-relaxation above. It needs far too many sweeps to *solve* a problem
with nearly D support vectors, but a few dozen find most of them, and the active set (`active_set.py`) only
has to put the rest right. So single precision does.

Measured at D = 200, alpha = 2 (random data): 30 sweeps at omega = 1 leave 15 rows to correct, at omega =
1.7 five.
"""

from __future__ import annotations

import numpy as np

from theory._compiled import compiled
from theory.perceptron.blas import REASSOCIATE

OVER_RELAXATION = 1.7
_SEED = 0x9E3779B97F4A7C15  # of the sweeps' order: fixed, so that equal input gives equal output


@compiled(nogil=True, fastmath=REASSOCIATE)
def coordinate_descent(
    Z: np.ndarray, inverse_squares: np.ndarray, lam: np.ndarray, sweeps: int, omega: float, stop: np.ndarray
) -> int:
    """Improve `lam` [n] in place by at most `sweeps` sweeps over the rows of `Z` [n, D]; the sweeps done.

    All arrays are single precision. `inverse_squares` [n] holds 1 / |z_i|^2, or 0 for a row to leave alone.
    Stops when `stop` [1] is set, and early once under 2 % of the rows entered or left the support in each of three
    sweeps. A row at lam_i = 0 whose constraint is satisfied by more than the previous sweep's largest correction is
    set aside.
    """
    n, D = Z.shape
    zero, one, relax = np.float32(0.0), np.float32(1.0), np.float32(omega)
    w = np.zeros(D, np.float32)
    for i in range(n):
        if lam[i] > zero:
            for k in range(D):
                w[k] += lam[i] * Z[i, k]

    order = np.arange(n)
    active = n
    threshold = np.float32(np.inf)
    quiet = 0
    state = np.uint64(_SEED)
    for sweep in range(sweeps):
        if stop[0]:
            return sweep
        for a in range(active - 1, 0, -1):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            b = int(state % np.uint64(a + 1))
            order[a], order[b] = order[b], order[a]

        largest, changed, a = zero, 0, 0
        while a < active:
            i = order[a]
            z = Z[i]
            slack = -one
            for k in range(D):
                slack += z[k] * w[k]
            old = lam[i]
            new = max(zero, old - relax * slack * inverse_squares[i])
            if new == zero and old == zero:
                if sweep >= 2 and slack > threshold:
                    active -= 1
                    order[a], order[active] = order[active], i
                    continue  # the row swapped in is next
            else:
                if new == zero or old == zero:
                    changed += 1
                largest = max(largest, abs(slack))
                lam[i] = new
                step = new - old
                for k in range(D):
                    w[k] += step * z[k]
            a += 1

        threshold = largest
        quiet = quiet + 1 if 50 * changed <= active else 0
        if quiet == 3:
            return sweep + 1
    return sweeps
