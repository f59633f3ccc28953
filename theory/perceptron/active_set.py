"""The exact part of the max-margin solver: a dual active set in the manner of Goldfarb and Idnani (1983).

    minimise |w|^2 / 2   subject to   z_i.w >= 1   for the n rows z_i of Z [n, D].

A *face* is a set S of linearly independent rows held at z_i.w = 1, with multipliers lam_S >= 0 and w =
Z_S^T lam_S; it is the solution of the problem restricted to S. The walk takes a violated row j and raises
its multiplier by t: with K = Z_S Z_S^T,

    r = K^-1 Z_S z_j,    delta = |z_j - Z_S^T r|^2   (squared distance of z_j from the span of S),
    lam_S -> lam_S - t r,    lam_j -> t,    z_j.w -> z_j.w + t delta,

until z_j.w = 1 (t = (1 - z_j.w) / delta: j joins S) or a multiplier reaches zero (that row leaves S, and
the step goes on). The dual objective rises strictly, so no face comes back and the walk is finite. If
neither ever happens, r <= 0 and delta = 0: then z_j - Z_S^T r = 0 is a non-negative combination of rows
that vanishes, Farkas' proof that nothing separates.
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled
from theory.perceptron.blas import times
from theory.perceptron.face import (
    EPSILON,
    Face,
    append,
    approach,
    combine,
    direction,
    dot,
    polish,
    refine_direction,
    remove,
    settle,
)

OPTIMAL, INSEPARABLE, STALLED = 0, 1, 2

GUARD = 4.0  # units of rounding, see `polish`
_TOLERANCE = 1e-12  # of the constraints z_i.w >= 1, on top of what rounding allows
_ROUNDING = 4 * EPSILON
_DEPENDENT = 1e-15  # delta below this times |z_j|^2: z_j is in the span of S
_DRIFT = 1e-8  # residual of z_i.w = 1 on the face that calls for a fresh factor
_SOON, _FRESH = 20, 200  # rows entered before the factor is computed afresh: with drift, and in any case
_CANDIDATES = 4  # violated rows tried per look at all rows


@compiled(nogil=True)
def _enter(face: Face, j: int, slack: float) -> int:
    """Bring the violated row j (slack = 1 - z_j.w > 0) into the face.

    OPTIMAL when it has joined; INSEPARABLE, with face.r as the proof, when nothing stops the step.
    """
    lam = 0.0
    delta = approach(face, j)
    while True:
        m = face.size[0]
        delta = direction(face, j, delta)
        blocked, blocker = np.inf, -1
        for p in range(m):
            if face.r[p] > 0.0 and face.lam[p] < blocked * face.r[p]:
                blocked, blocker = face.lam[p] / face.r[p], p
        full = np.inf
        if m < face.lam.size and delta > _DEPENDENT * face.squares[j]:
            full = slack / delta
        if blocker < 0 and full == np.inf:
            return INSEPARABLE

        step = min(blocked, full)
        for p in range(m):
            face.lam[p] -= step * face.r[p]
        lam += step
        if full <= blocked:
            append(face, j, lam, delta)
            return OPTIMAL
        slack -= step * delta
        remove(face, blocker)
        lost = face.v[m - 1]
        delta += lost * lost


@compiled(nogil=True)
def _most_violated(face: Face, margins: np.ndarray, allowance: float, chosen: np.ndarray, violation: np.ndarray) -> int:
    """Fill `chosen` and `violation` with the rows furthest below the margin, worst first; their number."""
    found = 0
    for i in range(margins.size):
        short = 1.0 - margins[i]
        if short <= _TOLERANCE + allowance * math.sqrt(face.squares[i]) or face.inside[i]:
            continue
        if found < chosen.size:
            found += 1
        elif short <= violation[found - 1]:
            continue
        place = found - 1
        while place > 0 and violation[place - 1] < short:
            violation[place], chosen[place] = violation[place - 1], chosen[place - 1]
            place -= 1
        violation[place], chosen[place] = short, i
    return found


@compiled(nogil=True)
def walk(face: Face, start: np.ndarray, limit: int) -> tuple[int, int]:
    """Walk from the rows `start` to the solution: the status, and the row that proved inseparability or -1.

    At the end face.w and face.lam are polished. STALLED after `limit` rows entered or when face.stop is set; the
    caller certifies what was reached.
    """
    n = face.Z.shape[0]
    margins = np.empty(n)
    chosen, violation = np.empty(_CANDIDATES, np.int64), np.empty(_CANDIDATES)
    widest = 0.0
    for i in range(n):
        widest = max(widest, math.sqrt(face.squares[i]))
    settle(face, start)
    entered, fresh_at = 0, 0
    while True:
        m = face.size[0]
        combine(face, face.lam, face.w)
        times(face.Z, n, face.w, margins, face.ints)
        # Rounding of z_i.w, and of w itself (see `polish`).
        length = math.sqrt(dot(face.w, face.w))
        allowance = _ROUNDING * (length + widest * length * length)  # |w|^2 = sum(lam)
        found = _most_violated(face, margins, allowance, chosen, violation)
        if found == 0:
            polish(face, GUARD)
            times(face.Z, n, face.w, margins, face.ints)
            allowance = _ROUNDING * math.sqrt(dot(face.w, face.w))
            found = _most_violated(face, margins, allowance, chosen, violation)
            if found == 0:
                return OPTIMAL, -1
            found = 1

        drift = 0.0
        for p in range(m):
            drift = max(drift, abs(1.0 - margins[face.member[p]]))
        if entered - fresh_at > (_SOON if drift > _DRIFT else _FRESH):
            settle(face, face.member[:m].copy())
            fresh_at = entered
            continue

        for c in range(found):
            j = chosen[c]
            short = violation[c]
            if c > 0:  # the face has changed since the look at all rows
                combine(face, face.lam, face.w)
                short = 1.0 - dot(face.Z[j], face.w)
                if short <= _TOLERANCE + allowance * math.sqrt(face.squares[j]):
                    continue
            if entered == limit or face.stop[0]:
                polish(face, GUARD)
                return STALLED, -1
            entered += 1
            if _enter(face, j, short) == INSEPARABLE:
                refine_direction(face, j)
                return INSEPARABLE, j
