"""A face of the max-margin problem: independent rows held at the margin, and the factor that solves for them.

A face is a set S of rows z_i held at z_i.w = 1, with K = Z_S Z_S^T, multipliers lam_S, and w = Z_S^T lam_S.
K = U^T U is held by its factor U, row-major and upper; rows join by a triangular solve and leave by Givens
rotations, which also keep h = U^-T 1 (and v, the row that is about to join) up to date.

Rows of S sit in *slots* of a compact array; position p of the factor belongs to slot `slot[p]`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from theory._compiled import compiled
from theory.perceptron.blas import REASSOCIATE, cholesky, gram, solve_transposed, solve_upper, times, transposed_times

EPSILON = np.finfo(np.float64).eps
_SUSPECT = 1e-9  # a distance^2 below this times |z_j|^2 has lost its digits and is computed from the vectors


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
    carry: np.ndarray  # [capacity]
    ints: np.ndarray  # [8]
    stop: np.ndarray  # [1], whether to give up


def empty_face(Z: np.ndarray, squares: np.ndarray, stop: np.ndarray) -> Face:
    """A face without rows, for the rows `Z` [n, D] with squared norms `squares` [n]; `stop` [1] ends the walk."""
    n, D = Z.shape
    c = min(n, D)
    return Face(
        Z=Z, squares=squares, size=np.zeros(1, np.int64),
        rows=np.empty((c, D)), slot=np.zeros(c, np.int64), member=np.zeros(c, np.int64),
        lam=np.zeros(c), U=np.empty((c, c)), h=np.zeros(c), inside=np.zeros(n, np.bool_), w=np.zeros(D),
        v=np.zeros(c), r=np.zeros(c), by_slot=np.zeros(c), vector=np.zeros(D), carry=np.zeros(c),
        ints=np.zeros(8, np.int32),
        stop=stop,
    )  # fmt: skip


@compiled(nogil=True)
def _copy(source: np.ndarray, target: np.ndarray, count: int) -> None:
    """Set target[:count] = source[:count]; a slice assignment would take twenty times as long to compile."""
    for k in range(count):
        target[k] = source[k]


@compiled(nogil=True, fastmath=REASSOCIATE)
def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Inner product, summed in any order."""
    total = 0.0
    for k in range(x.size):
        total += x[k] * y[k]
    return total


@compiled(nogil=True)
def _products(face: Face, z: np.ndarray, out: np.ndarray) -> None:
    """Set out[:m] = Z_S z, by position."""
    m = face.size[0]
    times(face.rows, m, z, face.by_slot, face.ints)
    for p in range(m):
        out[p] = face.by_slot[face.slot[p]]


@compiled(nogil=True)
def combine(face: Face, coefficients: np.ndarray, out: np.ndarray) -> None:
    """Set out = Z_S^T coefficients, the coefficients by position."""
    m = face.size[0]
    for p in range(m):
        face.by_slot[face.slot[p]] = coefficients[p]
    transposed_times(face.rows, m, face.by_slot, out, face.ints)


@compiled(nogil=True)
def append(face: Face, j: int, lam: float, delta: float) -> None:
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


@compiled(nogil=True, fastmath=REASSOCIATE)
def remove(face: Face, k: int) -> None:
    """The row at position k leaves S. U, h and v are brought up to date; v keeps what it lost in v[m - 1]."""
    U, h, v = face.U, face.h, face.v
    m = face.size[0]
    face.inside[face.member[k]] = False

    for i in range(k):
        upper = U[i]
        for j in range(k, m - 1):
            upper[j] = upper[j + 1]
    # Deleting column k leaves one entry below the diagonal in each later column. Each rotation of two
    # neighbouring rows clears one; `carry` is the upper of the two, so that rows are read and written once
    # and never overlap (a shift in place would keep the loop from using SIMD: 14 instead of 4 us).
    _copy(U[k, k + 1 : m], face.carry[k:], m - 1 - k)
    for i in range(k, m - 1):
        carry, lower, out = face.carry[i : m - 1], U[i + 1, i + 1 : m], U[i, i : m - 1]
        norm = math.sqrt(carry[0] * carry[0] + lower[0] * lower[0])
        c, s = carry[0] / norm, lower[0] / norm
        for j in range(carry.size):
            x, y = carry[j], lower[j]
            out[j] = c * x + s * y
            carry[j] = c * y - s * x
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


@compiled(nogil=True)
def approach(face: Face, j: int) -> float:
    """Set face.v = U^-T Z_S z_j for a row j about to enter; its squared distance from the span of S."""
    m = face.size[0]
    _products(face, face.Z[j], face.v)
    solve_transposed(face.U, m, face.v, face.ints)
    delta = face.squares[j]
    for p in range(m):
        delta -= face.v[p] * face.v[p]
    return delta


@compiled(nogil=True)
def direction(face: Face, j: int, delta: float) -> float:
    """Set face.r = K^-1 Z_S z_j from face.v; the squared distance, computed anew where it lost its digits."""
    m = face.size[0]
    _copy(face.v, face.r, m)
    solve_upper(face.U, m, face.r, face.ints)
    if m == face.lam.size:  # S spans everything
        return 0.0
    return delta if delta > _SUSPECT * face.squares[j] else refine_direction(face, j)


@compiled(nogil=True)
def refine_direction(face: Face, j: int) -> float:
    """Refine face.r = K^-1 Z_S z_j against the rows themselves; |z_j - Z_S^T r|^2."""
    m = face.size[0]
    step = np.zeros(m)
    distance = np.inf
    for _ in range(4):
        for p in range(m):
            face.r[p] += step[p]
        combine(face, face.r, face.vector)
        distance = 0.0
        for k in range(face.Z.shape[1]):
            face.vector[k] = face.Z[j, k] - face.vector[k]
            distance += face.vector[k] * face.vector[k]
        _products(face, face.vector, step)
        solve_transposed(face.U, m, step, face.ints)
        solve_upper(face.U, m, step, face.ints)
    return distance


@compiled(nogil=True)
def _clear(face: Face) -> None:
    for p in range(face.size[0]):
        face.inside[face.member[p]] = False
    face.size[0] = 0


@compiled(nogil=True)
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
        delta = approach(face, j)
        if delta > _SUSPECT * face.squares[j]:
            append(face, j, 0.0, delta)


@compiled(nogil=True)
def settle(face: Face, members: np.ndarray) -> None:
    """Put the rows `members` on the face and make it dual feasible.

    K lam = 1 is solved, and the row with the most negative multiplier leaves, until none is negative.
    """
    _factorise(face, members)
    while face.size[0] > 0 and not face.stop[0]:
        m = face.size[0]
        _copy(face.h, face.lam, m)
        solve_upper(face.U, m, face.lam, face.ints)
        worst = 0
        for p in range(1, m):
            if face.lam[p] < face.lam[worst]:
                worst = p
        if face.lam[worst] >= 0.0:
            break
        remove(face, worst)


@compiled(nogil=True)
def polish(face: Face, units: float) -> None:
    """Refine lam and w on the face, two steps, so that z_i.w = 1 (plus a guard) to working precision.

    w = Z_S^T lam cancels: it loses a factor |z| / kappa. Each step therefore adds the correction to w
    itself, which does not. The guard, a few units of rounding of z_i.w, keeps rows of large norm on the
    right side of the margin; its price in |w| is weighted by their multipliers, which are small.
    """
    combine(face, face.lam, face.w)
    guard = units * EPSILON * math.sqrt(dot(face.w, face.w))
    m = face.size[0]
    for _ in range(2):
        _products(face, face.w, face.r)
        for p in range(m):
            face.r[p] = 1.0 + guard * math.sqrt(face.squares[face.member[p]]) - face.r[p]
        solve_transposed(face.U, m, face.r, face.ints)
        solve_upper(face.U, m, face.r, face.ints)
        combine(face, face.r, face.vector)
        for p in range(m):
            face.lam[p] += face.r[p]
        for k in range(face.w.size):
            face.w[k] += face.vector[k]
