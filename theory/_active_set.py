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

K = U^T U is held by its factor U, row-major and upper, updated by Givens rotations; so is h = U^-T 1.
Rows of S sit in *slots* of a compact array; position p of the factor belongs to slot `slot[p]`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from theory._blas import REASSOCIATE, cholesky, gram, solve_transposed, solve_upper, times, transposed_times

OPTIMAL, INSEPARABLE, STALLED = 0, 1, 2

_TOLERANCE = 1e-12  # of the constraints z_i.w >= 1, on top of what rounding allows
_EPSILON = np.finfo(np.float64).eps
_ROUNDING = 4 * _EPSILON
GUARD = 4.0  # units of rounding, see `polish`
_DEPENDENT = 1e-15  # delta below this times |z_j|^2: z_j is in the span of S
_SUSPECT = 1e-9  # delta below this times |z_j|^2 has lost its digits and is computed from the vectors
_DRIFT = 1e-8  # residual of z_i.w = 1 on the face that calls for a fresh factor
_SOON, _FRESH = 20, 200  # rows entered before the factor is computed afresh: with drift, and in any case
_CANDIDATES = 4  # violated rows tried per look at all rows


class Face(NamedTuple):
    """The working face and its scratch; `size[0]` of `capacity` = min(n, D) positions are in use."""

    Z: np.ndarray  # [n, D]
    squares: np.ndarray  # [n], |z_i|^2
    size: np.ndarray  # [1]
    rows: np.ndarray  # [capacity, D], by slot
    slot: np.ndarray  # [capacity], by position
    member: np.ndarray  # [capacity], row of Z, by position
    lam: np.ndarray  # [capacity], by position
    U: np.ndarray  # [capacity, capacity], by position
    h: np.ndarray  # [capacity], by position
    inside: np.ndarray  # [n], whether a row is in S
    w: np.ndarray  # [D]
    v: np.ndarray  # [capacity], by position: U^-T Z_S z_j of the row j that is entering
    r: np.ndarray  # [capacity], by position
    by_slot: np.ndarray  # [capacity]
    vector: np.ndarray  # [D]
    ints: np.ndarray  # [8]


def empty_face(Z: np.ndarray, squares: np.ndarray) -> Face:
    """A face without rows, for the rows `Z` [n, D] with squared norms `squares` [n]."""
    n, D = Z.shape
    c = min(n, D)
    return Face(
        Z=Z, squares=squares, size=np.zeros(1, np.int64),
        rows=np.zeros((c, D)), slot=np.zeros(c, np.int64), member=np.zeros(c, np.int64),
        lam=np.zeros(c), U=np.zeros((c, c)), h=np.zeros(c), inside=np.zeros(n, np.bool_), w=np.zeros(D),
        v=np.zeros(c), r=np.zeros(c), by_slot=np.zeros(c), vector=np.zeros(D), ints=np.zeros(8, np.int32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _copy(source: np.ndarray, target: np.ndarray, count: int) -> None:
    """Set target[:count] = source[:count]; a slice assignment would take twenty times as long to compile."""
    for k in range(count):
        target[k] = source[k]


@njit(cache=True, nogil=True, fastmath=REASSOCIATE)
def _dot(x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for k in range(x.size):
        total += x[k] * y[k]
    return total


@njit(cache=True, nogil=True)
def _products(face: Face, z: np.ndarray, out: np.ndarray) -> None:
    """Set out[:m] = Z_S z, by position."""
    m = face.size[0]
    times(face.rows, m, z, face.by_slot, face.ints)
    for p in range(m):
        out[p] = face.by_slot[face.slot[p]]


@njit(cache=True, nogil=True)
def _combine(face: Face, coefficients: np.ndarray, out: np.ndarray) -> None:
    """Set out = Z_S^T coefficients, the coefficients by position."""
    m = face.size[0]
    for p in range(m):
        face.by_slot[face.slot[p]] = coefficients[p]
    transposed_times(face.rows, m, face.by_slot, out, face.ints)


@njit(cache=True, nogil=True)
def _append(face: Face, j: int, lam: float, delta: float) -> None:
    """Row j joins S; face.v holds U^-T Z_S z_j and `delta` its squared distance from the span of S."""
    m = face.size[0]
    pivot = math.sqrt(delta)
    rest = 1.0
    for p in range(m):
        face.U[p, m] = face.v[p]
        rest -= face.v[p] * face.h[p]
    face.U[m, m] = pivot
    face.h[m] = rest / pivot
    _copy(face.Z[j], face.rows[m], face.Z.shape[1])
    face.slot[m], face.member[m], face.lam[m], face.inside[j] = m, j, lam, True
    face.size[0] = m + 1


@njit(cache=True, nogil=True, fastmath=REASSOCIATE)
def _remove(face: Face, k: int) -> None:
    """The row at position k leaves S. U, h and v are brought up to date; v keeps what it lost in v[m - 1]."""
    U, h, v = face.U, face.h, face.v
    m = face.size[0]
    face.inside[face.member[k]] = False

    for i in range(k):
        upper = U[i]
        for j in range(k, m - 1):
            upper[j] = upper[j + 1]
    for i in range(k, m - 1):  # deleting column k leaves one entry below the diagonal in each later column
        upper, lower = U[i], U[i + 1]
        a, b = upper[i + 1], lower[i + 1]
        norm = math.sqrt(a * a + b * b)
        c, s = a / norm, b / norm
        for j in range(i, m - 1):
            x, y = upper[j + 1], lower[j + 1]
            upper[j] = c * x + s * y
            lower[j + 1] = c * y - s * x
        h[i], h[i + 1] = c * h[i] + s * h[i + 1], c * h[i + 1] - s * h[i]
        v[i], v[i + 1] = c * v[i] + s * v[i + 1], c * v[i + 1] - s * v[i]

    hole, last = face.slot[k], m - 1
    for p in range(k, m - 1):
        face.slot[p], face.member[p], face.lam[p] = face.slot[p + 1], face.member[p + 1], face.lam[p + 1]
    if hole != last:  # slots stay compact: the last one moves into the hole
        _copy(face.rows[last], face.rows[hole], face.rows.shape[1])
        for p in range(m - 1):
            if face.slot[p] == last:
                face.slot[p] = hole
    face.size[0] = m - 1


@njit(cache=True, nogil=True)
def _approach(face: Face, j: int) -> float:
    """Set face.v = U^-T Z_S z_j for a row j about to enter; its squared distance from the span of S."""
    m = face.size[0]
    _products(face, face.Z[j], face.v)
    solve_transposed(face.U, m, face.v, face.ints)
    delta = face.squares[j]
    for p in range(m):
        delta -= face.v[p] * face.v[p]
    return delta


@njit(cache=True, nogil=True)
def _direction(face: Face, j: int, delta: float) -> float:
    """Set face.r = K^-1 Z_S z_j from face.v; the squared distance, computed anew where it lost its digits."""
    m = face.size[0]
    _copy(face.v, face.r, m)
    solve_upper(face.U, m, face.r, face.ints)
    if m == face.lam.size:  # S spans everything
        return 0.0
    return delta if delta > _SUSPECT * face.squares[j] else refine_direction(face, j)


@njit(cache=True, nogil=True)
def refine_direction(face: Face, j: int) -> float:
    """Refine face.r = K^-1 Z_S z_j against the rows themselves; |z_j - Z_S^T r|^2."""
    m = face.size[0]
    step = np.zeros(m)
    distance = np.inf
    for _ in range(4):
        for p in range(m):
            face.r[p] += step[p]
        _combine(face, face.r, face.vector)
        distance = 0.0
        for k in range(face.Z.shape[1]):
            face.vector[k] = face.Z[j, k] - face.vector[k]
            distance += face.vector[k] * face.vector[k]
        _products(face, face.vector, step)
        solve_transposed(face.U, m, step, face.ints)
        solve_upper(face.U, m, step, face.ints)
    return distance


@njit(cache=True, nogil=True)
def _enter(face: Face, j: int, slack: float) -> int:
    """Bring the violated row j (slack = 1 - z_j.w > 0) into the face.

    OPTIMAL when it has joined; INSEPARABLE, with face.r as the proof, when nothing stops the step.
    """
    lam = 0.0
    delta = _approach(face, j)
    while True:
        m = face.size[0]
        delta = _direction(face, j, delta)
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
            _append(face, j, lam, delta)
            return OPTIMAL
        slack -= step * delta
        _remove(face, blocker)
        lost = face.v[m - 1]
        delta += lost * lost


@njit(cache=True, nogil=True)
def _clear(face: Face) -> None:
    for p in range(face.size[0]):
        face.inside[face.member[p]] = False
    face.size[0] = 0


@njit(cache=True, nogil=True)
def _factorise(face: Face, members: np.ndarray) -> None:
    """Make the rows `members` (at most capacity) the face, as far as independent; sets U and h, not lam."""
    _clear(face)
    m = members.size
    for p in range(m):
        j = members[p]
        _copy(face.Z[j], face.rows[p], face.Z.shape[1])
        face.slot[p], face.member[p], face.inside[j] = p, j, True
    face.size[0] = m
    if m == 0:
        return
    gram(face.rows, m, face.U, face.ints)
    sound = cholesky(face.U, m, face.ints) == 0
    for p in range(m):  # a factor that "succeeds" on rounding alone would give a nonsense w
        sound = sound and face.U[p, p] * face.U[p, p] > _SUSPECT * face.squares[face.member[p]]
    if sound:
        for p in range(m):
            face.h[p] = 1.0
        solve_transposed(face.U, m, face.h, face.ints)
        return
    _clear(face)
    for j in members:
        delta = _approach(face, j)
        if delta > _SUSPECT * face.squares[j]:
            _append(face, j, 0.0, delta)


@njit(cache=True, nogil=True)
def settle(face: Face, members: np.ndarray) -> None:
    """Put the rows `members` on the face and make it dual feasible.

    K lam = 1 is solved, and the row with the most negative multiplier leaves, until none is negative.
    """
    _factorise(face, members)
    while face.size[0] > 0:
        m = face.size[0]
        _copy(face.h, face.lam, m)
        solve_upper(face.U, m, face.lam, face.ints)
        worst = 0
        for p in range(1, m):
            if face.lam[p] < face.lam[worst]:
                worst = p
        if face.lam[worst] >= 0.0:
            break
        _remove(face, worst)


@njit(cache=True, nogil=True)
def polish(face: Face, units: float) -> None:
    """Refine lam and w on the face, two steps, so that z_i.w = 1 (plus a guard) to working precision.

    w = Z_S^T lam cancels: it loses a factor |z| / kappa. Each step therefore adds the correction to w
    itself, which does not. The guard, a few units of rounding of z_i.w, keeps rows of large norm on the
    right side of the margin; its price in |w| is weighted by their multipliers, which are small.
    """
    _combine(face, face.lam, face.w)
    guard = units * _EPSILON * math.sqrt(_dot(face.w, face.w))
    m = face.size[0]
    for _ in range(2):
        _products(face, face.w, face.r)
        for p in range(m):
            face.r[p] = 1.0 + guard * math.sqrt(face.squares[face.member[p]]) - face.r[p]
        solve_transposed(face.U, m, face.r, face.ints)
        solve_upper(face.U, m, face.r, face.ints)
        _combine(face, face.r, face.vector)
        for p in range(m):
            face.lam[p] += face.r[p]
        for k in range(face.w.size):
            face.w[k] += face.vector[k]


@njit(cache=True, nogil=True)
def _most_violated(
    face: Face, margins: np.ndarray, allowance: float, chosen: np.ndarray, violation: np.ndarray
) -> int:
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


@njit(cache=True, nogil=True)
def solve(face: Face, start: np.ndarray, limit: int) -> tuple[int, int]:
    """Walk from the rows `start` to the solution: the status, and the row that proved inseparability or -1.

    At the end face.w and face.lam are polished. STALLED after `limit` rows entered; the caller certifies
    what was reached.
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
        _combine(face, face.lam, face.w)
        times(face.Z, n, face.w, margins, face.ints)
        # Rounding of z_i.w, and of w itself (see `polish`).
        length = math.sqrt(_dot(face.w, face.w))
        allowance = _ROUNDING * (length + widest * length * length)  # |w|^2 = sum(lam)
        found = _most_violated(face, margins, allowance, chosen, violation)
        if found == 0:
            polish(face, GUARD)
            times(face.Z, n, face.w, margins, face.ints)
            allowance = _ROUNDING * math.sqrt(_dot(face.w, face.w))
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
                _combine(face, face.lam, face.w)
                short = 1.0 - _dot(face.Z[j], face.w)
                if short <= _TOLERANCE + allowance * math.sqrt(face.squares[j]):
                    continue
            if entered == limit:
                polish(face, GUARD)
                return STALLED, -1
            entered += 1
            if _enter(face, j, short) == INSEPARABLE:
                refine_direction(face, j)
                return INSEPARABLE, j
