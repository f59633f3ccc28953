"""The dynamical theory's population of effective points, step by step, compiled (see `theory.distillation.dynamics`).

Shapes: n points, T steps, K probes, d = 1 + K signal axes (teacher, then the probes' parts outside it).  ``P[i, a, s]``
is the response of point i's coordinate a to the noise of step s, ``H[i, t, s]`` that of its weight h at step t.
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled
from theory.perceptron.blas import REASSOCIATE

SQUARED, COSINE = 0, 1
# Mean size of the response of a coordinate to a unit of noise in one step, beyond which descent is chaotic. Orderly
# descents add responses up, step by step: they stay below 0.5, where points run away (few of them) below 0.03 a step.
# Chaos multiplies them: one perfect probe at the cosine distance passes 2 within ten steps, 10 within a hundred.
ORDERLY, GROWTH = 1.5, 0.05


@compiled(fastmath=REASSOCIATE)
def _mean_product(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total / a.size


@compiled
def start(p: np.ndarray, k_cos: float, k_sin: float, beta: float) -> np.ndarray:
    """Weights h0 [K, n] of all probes at points p [n, d]."""
    n, d = p.shape
    h0 = np.empty((d - 1, n))
    for k in range(d - 1):
        for i in range(n):
            h0[k, i] = 1.0 / (1.0 + math.exp(beta * (k_cos * p[i, 0] + k_sin * p[i, 1 + k])))
    return h0


@compiled(fastmath=REASSOCIATE)
def _advance(
    p: np.ndarray,
    P: np.ndarray,
    H: np.ndarray,
    h: np.ndarray,
    y: np.ndarray,
    response: np.ndarray,
    Qs: np.ndarray,
    t: int,
    k: int,
    rate: float,
    beta: float,
    cos: float,
    sin: float,
) -> None:
    """Move all points and their responses by one step; response [t + 1]: d y(t) / d h(s)."""
    n, d = p.shape
    dy = np.empty(t + 1, np.float32)
    along = np.empty(t + 1, np.float32)
    step = np.empty(t + 1, np.float32)
    for i in range(n):
        hi = h[t, i]
        zQ = y[i]
        for a in range(d):
            zQ += p[i, a] * Qs[a]
        bend = beta * hi * (1.0 - hi)
        for s in range(t):
            dy[s] = np.float32(0.0)
        for u in range(1, t + 1):
            c = np.float32(response[u])
            row = H[i, u]
            for s in range(u):
                dy[s] += c * row[s]
        for s in range(t):
            along[s] = dy[s]
        for a in range(d):
            c = np.float32(Qs[a])
            line = P[i, a]
            for s in range(t):
                along[s] += c * line[s]
        # Change of (beta h (1 - h) z.Q), per unit of noise at step s.
        turn, keep = np.float32(beta * (1.0 - 2.0 * hi) * zQ), np.float32(bend)
        own = H[i, t]
        for s in range(t):
            step[s] = turn * own[s] + keep * along[s]
        along[t] = np.float32(1.0)
        step[t] = keep
        for a in range(d):
            c = np.float32(-rate * Qs[a])
            line = P[i, a]
            for s in range(t):
                line[s] += c * own[s]
        r = np.float32(rate)
        for axis in range(2):
            c = r * np.float32(cos if axis == 0 else sin)
            line = P[i, 0 if axis == 0 else 1 + k]
            for s in range(t + 1):
                line[s] += c * step[s]
        for a in range(d):
            p[i, a] -= rate * hi * Qs[a]
        p[i, 0] += rate * bend * zQ * cos
        p[i, 1 + k] += rate * bend * zQ * sin


@compiled(nogil=True)
def descend(
    p: np.ndarray,
    noise: np.ndarray,
    order: np.ndarray,
    alpha: float,
    real: float,
    beta: float,
    cos: float,
    sin: float,
    rate: float,
    distance: int,
    coefficient: float,
    real_signal: np.ndarray,
    real_pairs: np.ndarray,
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Descend with n effective points, in place.

    ``p`` [n, d]: signal coordinates at the start.  ``noise`` [T, n]: standard normals.  ``order`` [T]: probes.
    ``alpha, real``: points and real samples per dimension and class.  ``cos, sin``: of the probes' angle.  ``rate``: r,
    twice the learning rate.  ``real_signal`` [2]: E_real[h U], E_real[h S].  ``real_pairs`` [K, K]: E_real[h_k h_l].

    Returns (steps done: T, or fewer where responses exploded), P, h [T, n], h0 [K, n], A [T], B [T], L [T, T] (q =
    L u), q.q [T, T], losses [T].
    """
    n, d = p.shape
    T, K = order.size, d - 1
    f = alpha / real
    h0 = start(p, cos, sin, beta)
    shared = np.empty((K, K))
    for k in range(K):
        for j in range(K):
            shared[k, j] = f * _mean_product(h0[k], h0[j]) / real + (1.0 - f) * real_pairs[k, j] / real
    h = np.empty((T, n))
    P, H = np.zeros((n, d, T), np.float32), np.zeros((n, T, T), np.float32)
    A, B, losses = np.zeros(T), np.zeros(T), np.full(T, np.nan)
    L, qq, factor = np.zeros((T, T)), np.zeros((T, T)), np.zeros((T, T))
    C, X = np.zeros((T, T)), np.zeros((T, K))
    q_real = np.zeros((T, K))
    Qs, Gs, y = np.zeros(d), np.zeros(d), np.empty(n)
    done = T
    for t in range(T):
        k = order[t]
        for i in range(n):
            value = 1.0 / (1.0 + math.exp(beta * (cos * p[i, 0] + sin * p[i, 1 + k])))
            h[t, i] = value
            c0, c1 = np.float32(-beta * value * (1.0 - value) * cos), np.float32(-beta * value * (1.0 - value) * sin)
            for s in range(t):
                H[i, t, s] = c0 * P[i, 0, s] + c1 * P[i, 1 + k, s]
        W = np.zeros(t)
        for s in range(t):
            total = 0.0
            for i in range(n):
                total += H[i, t, s]
            C[t, s] = C[s, t] = _mean_product(h[t], h[s])
            W[s] = total / n - rate * C[t, s]
        C[t, t] = _mean_product(h[t], h[t])
        for j in range(K):
            X[t, j] = _mean_product(h[t], h0[j])
        for a in range(d):
            Gs[a] = _mean_product(h[t], p[:, a])
        # zeta(t).q(s), then the gradient's length and its overlap with the real one.
        N = np.zeros(t)
        for s in range(t):
            for u in range(s + 1):
                N[s] += L[s, u] * (A[u] * C[t, u] / alpha - B[u] * X[t, order[u]] / real)
        GG, G_real, real_real = C[t, t] / alpha, X[t, k] / real, shared[k, k]
        Wqq = np.zeros(t)
        for s in range(t):
            for u in range(t):
                Wqq[s] += W[u] * qq[u, s]
            GG += W[s] * (2.0 * N[s] + Wqq[s])
            G_real += W[s] * q_real[s, k]
        for a in range(d):
            GG += Gs[a] * Gs[a]
        G_real += Gs[0] * real_signal[0] + Gs[1 + k] * real_signal[1]
        real_real += real_signal[0] ** 2 + real_signal[1] ** 2
        length = math.sqrt(max(GG, 1e-300))
        if distance == SQUARED:
            A[t], B[t] = 2.0, 2.0
            losses[t] = GG - 2.0 * G_real + real_real
        else:
            other = math.sqrt(real_real)
            A[t], B[t] = G_real / (length * other) / (length * length), 1.0 / (length * other)
            losses[t] = 1.0 - G_real / (length * other)
        A[t] += coefficient / length
        # q(t) = u(t) + A sum W q, u = A zeta - B gamma.
        L[t, t] = 1.0
        for u in range(t):
            total = 0.0
            for s in range(u, t):
                total += W[s] * L[s, u]
            L[t, u] = A[t] * total
        own = A[t] ** 2 * C[t, t] / alpha - 2.0 * A[t] * B[t] * X[t, k] / real + B[t] ** 2 * shared[k, k]
        for s in range(t):
            uq = A[t] * N[s] - B[t] * q_real[s, k]
            qq[t, s] = qq[s, t] = uq + A[t] * Wqq[s]
            own += A[t] * W[s] * (2.0 * uq + A[t] * Wqq[s])
        qq[t, t] = own
        for j in range(K):
            total = A[t] * X[t, j] / real - B[t] * shared[k, j]
            for s in range(t):
                total += A[t] * W[s] * q_real[s, j]
            q_real[t, j] = total
        # The field's Gaussian part, by one more row of the Cholesky factor.
        for s in range(t):
            total = qq[t, s]
            for u in range(s):
                total -= factor[t, u] * factor[s, u]
            factor[t, s] = total / factor[s, s] if factor[s, s] > 0.0 else 0.0
        pivot = own
        for s in range(t):
            pivot -= factor[t, s] ** 2
        factor[t, t] = math.sqrt(pivot) if pivot > 1e-12 * own else 0.0
        y[:] = 0.0
        response = np.zeros(t + 1)
        for s in range(t + 1):
            response[s] = L[t, s] * A[s] / alpha - (rate * qq[s, t] if s < t else 0.0)
            back = -L[t, s] * B[s] * f / alpha
            c = factor[t, s]
            for i in range(n):
                y[i] += c * noise[s, i] + response[s] * h[s, i] + back * h0[order[s], i]
        Qs[:] = 0.0
        for a in range(d):
            Qs[a] = A[t] * Gs[a]
        Qs[0] -= B[t] * real_signal[0]
        Qs[1 + k] -= B[t] * real_signal[1]
        _advance(p, P, H, h, y, response, Qs, t, k, rate, beta, cos, sin)
        largest = 0.0
        size = np.zeros(t + 1)
        for i in range(n):
            for s in range(t + 1):
                size[s] += abs(P[i, 0, s])
        for s in range(t + 1):
            largest = max(largest, size[s] / n)
        if not (largest < ORDERLY + GROWTH * t and math.isfinite(own) and math.isfinite(losses[t])):
            done = t
            break
    return done, P, h, h0, A, B, L, qq, losses
