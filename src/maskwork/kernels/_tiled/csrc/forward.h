/* Rows of a tile against all its keys, forward. */

#pragma once

#include "block.h"

static int all_finite(const real *x, long n) {
    real none = 0; /* 0 x inf and 0 x NaN are NaN */
    for (long i = 0; i < n; i++) none += x[i] * 0;
    return none == 0;
}

/* Extends the softmax of MR rows by `n` columns: replaces scores by weights 2^(score - top), and updates the sums. When
   a row's maximum `top` grows, its sum and output so far shrink by 2^(old top - new top). */
static void soften(real *scores, long n, real *top, real *total, real *o, long wide) {
    real tops[MR]; /* of all rows first: their reductions then do not wait for each other */
    for (long i = 0; i < MR; i++) {
        const real *x = scores + i * BLOCK;
        vec m0 = fill(-INFINITY), m1 = m0;
        for (long j = 0; j < n; j += NR) m0 = larger(load(x + j), m0), m1 = larger(load(x + j + VL), m1);
        tops[i] = max_of(larger(m0, m1));
    }
    for (long i = 0; i < MR; i++) {
        real *x = scores + i * BLOCK, before = top[i], now = before > tops[i] ? before : tops[i];
        if (now == -INFINITY) { /* no key seen yet; a NaN is larger than nothing, so add it to the sum */
            vec sum = {0};
            for (long j = 0; j < n; j += VL) {
                vec y = load(x + j);
                vec nan = pick(y != y, y, (vec){0});
                sum += nan;
                store(x + j, nan);
            }
            total[i] += sum_of(sum);
            continue;
        }
        vec down = fill(now), s0 = {0}, s1 = {0};
        for (long j = 0; j < n; j += NR) {
            vec p0 = exp2_of(load(x + j) - down), p1 = exp2_of(load(x + j + VL) - down);
            store(x + j, p0);
            store(x + j + VL, p1);
            s0 += p0;
            s1 += p1;
        }
        real sum = sum_of(s0 + s1);
        if (now > before) {
            real shrink = (real)exp2(before - now);
            total[i] = total[i] * shrink;
            for (long d = 0; d < wide; d += VL) store(o + i * wide + d, load(o + i * wide + d) * shrink);
            top[i] = now;
        }
        total[i] += sum;
    }
}

/* Computes output and log-sum-exp of some rows against all keys of their tile. Returns whether the output is finite. */
static int forward_rows(const Call *c, const Rows *r, Scratch *s) {
    const Tile *t = r->tile;
    long wide = up(c->v_dim, NR), groups = up(r->n, MR) / MR, range = 0, before = 0;
    int finite = 1;
    const real *k = keys_of(r, c->k, c->k_by), *v = keys_of(r, c->v, c->v_by);
    Masked m = {0, 0};
    pack_rows(r, c->q, c->q_by, c->dim, c->scale * M_LOG2E, s->q);
    memset(s->o, 0, sizeof(real) * groups * MR * wide);
    memset(s->cursor, 0, 4 * r->rows);
    for (long i = 0; i < groups * MR; i++) s->top[i] = -INFINITY, s->total[i] = 0;
    for (long first = 0; first < t->width; first += BLOCK) {
        long n = least(BLOCK, t->width - first), ldv, panels = up(n, NR) / NR;
        int masked = read_mask(r, first, n, &m, s);
        if (!read_state(r, n, masked, s)) continue;
        list_keys(r, first, n, &range, &before, s->keys);
        pack_keys(k, c->k_by[2], s->keys, n, c->dim, s->k);
        const real *values = key_rows(v, c->v_by[2], s->keys, n, c->v_dim, s->v, &ldv);
        for (long g = 0; g < groups; g++) {
            const uint8_t *state = s->state + g * PANELS;
            long seen = 0, at[PANELS];
            for (long p = 0; p < panels; p++) {
                if (state[p] == NONE) continue;
                real *x = s->scores + seen * NR;
                scores_of(g, p, c->dim, s->q + g * MR * c->dim, s->k + p * NR * c->dim, s, x);
                if (state[p] == SOME) hide(r, g, p, s->words, x);
                at[seen++] = p;
            }
            if (!seen) continue;
            real *o = s->o + g * MR * wide;
            soften(s->scores, seen * NR, s->top + g * MR, s->total + g * MR, o, wide);
            for (long i = 0, j; i < seen; i = j) { /* adjacent panels are one product */
                for (j = i + 1; j < seen && at[j] == at[j - 1] + 1;) j++;
                Columns e = columns_of(s->seen + g * PANELS, at[i], at[j - 1] + 1);
                const real *weights = s->scores + i * NR + e.first - at[i] * NR;
                for (long d = 0; d < wide; d += NR)
                    product_rows(e.n, weights, BLOCK, values + e.first * ldv + d, ldv, o + d, wide);
            }
        }
    }
    for (long i = 0; i < r->n; i++) {
        long head = r->head0 + i / r->rows, row = (r->batch * c->heads + head) * c->q_len + row_at(r, i % r->rows);
        real total = s->total[i], *out = c->out_to + row * c->v_dim;
        real by = total == 0 ? 0 : 1 / total;
        for (long d = 0; d < c->v_dim; d++) out[d] = s->o[i * wide + d] * by;
        /* rounded once: the backward recomputes all weights of the row from it */
        c->lse_to[row] = total == 0 ? -INFINITY : (real)(s->top[i] * M_LN2 + log(total));
        finite &= all_finite(out, c->v_dim);
    }
    return finite;
}

static real dot(const real *a, const real *b, long n) {
    vec acc = {0};
    long even = n / VL * VL;
    for (long d = 0; d < even; d += VL) acc += load(a + d) * load(b + d);
    real sum = sum_of(acc);
    for (long d = even; d < n; d++) sum += a[d] * b[d];
    return sum;
}

/* Computes the dot products of one row and n keys in place, times a factor. Each sum has VL partial sums, and so a
   smaller error than `product`. */
static void dots(const real *a, const real *x, long by, const int32_t *keys, long n, long dim, real factor, real *to) {
    long even = dim / VL * VL;
    for (long j = 0; j < n; j += 4) {
        const real *key[4];
        vec acc[4] = {{0}, {0}, {0}, {0}};
        UNROLL for (int i = 0; i < 4; i++) key[i] = x + keys[least(j + i, n - 1)] * by;
        for (long d = 0; d < even; d += VL) {
            vec y = load(a + d);
            UNROLL for (int i = 0; i < 4; i++) acc[i] += y * load(key[i] + d);
        }
        UNROLL for (int i = 0; i < 4; i++) {
            real sum = sum_of(acc[i]);
            for (long d = even; d < dim; d++) sum += a[d] * key[i][d];
            to[j + i] = sum * factor;
        }
    }
}

/* Prefetches n numbers: one row needs keys faster than the processor's own prefetching delivers them. */
INLINE void fetch(const real *p, long n) {
    for (long i = 0; i < n; i += 64 / sizeof(real)) __builtin_prefetch(p + i);
}

/* Computes one row, as in decoding: reads each key once and in place. Returns whether the output is finite. */
static int forward_row(const Call *c, const Rows *r, Scratch *s) {
    const Tile *t = r->tile;
    long range = 0, before = 0, wide = up(c->v_dim, VL);
    const real *k = keys_of(r, c->k, c->k_by), *v = keys_of(r, c->v, c->v_by);
    Masked m = {0, 0};
    real *o = s->o, *x = s->scores, top = -INFINITY, sum = 0;
    const real *q = row_of(r, c->q, c->q_by, 0);
    memset(o, 0, sizeof(real) * wide);
    s->cursor[0] = 0;
    for (long first = 0; first < t->width; first += BLOCK) {
        long n = least(BLOCK, t->width - first);
        int masked = read_mask(r, first, n, &m, s);
        if (!read_state(r, n, masked, s)) continue;
        list_keys(r, first, n, &range, &before, s->keys);
        for (long j = 0; j < n; j += 16) { /* prefetch values, and the keys of the next block, while computing scores */
            for (long i = j; i < least(j + 16, n); i++) fetch(v + s->keys[i] * c->v_by[2], c->v_dim);
            for (long i = j; i < least(j + 16, n) && s->keys[i] + BLOCK < c->kv_len; i++)
                fetch(k + (s->keys[i] + BLOCK) * c->k_by[2], c->dim);
            dots(q, k, c->k_by[2], s->keys + j, least(16, n - j), c->dim, c->scale * M_LOG2E, x + j);
        }
        for (long j = n; j < up(n, NR); j++) x[j] = -INFINITY;
        for (long j = 0; masked && j < n; j++)
            if (!(s->words[j / NR] >> j % NR & 1)) x[j] = -INFINITY;
        real biggest = top;
        for (long j = 0; j < n; j++) biggest = x[j] > biggest ? x[j] : biggest;
        if (biggest > top) {
            real shrink = (real)exp2(top - biggest);
            sum *= shrink;
            for (long d = 0; d < wide; d++) o[d] *= shrink;
            top = biggest;
        }
        if (top == -INFINITY) {
            for (long j = 0; j < n; j++) sum += x[j] != x[j] ? x[j] : 0;
            continue;
        }
        vec total = {0};
        for (long j = 0; j < up(n, NR); j += VL) {
            vec p = exp2_of(load(x + j) - top);
            store(x + j, p);
            total += p;
        }
        sum += sum_of(total);
        long d = 0;
        for (; d + 4 * VL <= c->v_dim; d += 4 * VL) {
            vec acc[4];
            UNROLL for (int i = 0; i < 4; i++) acc[i] = load(o + d + i * VL);
            for (long j = 0; j < n; j++) {
                const real *value = v + s->keys[j] * c->v_by[2] + d;
                UNROLL for (int i = 0; i < 4; i++) acc[i] += x[j] * load(value + i * VL);
            }
            UNROLL for (int i = 0; i < 4; i++) store(o + d + i * VL, acc[i]);
        }
        for (long j = 0; j < n && d < c->v_dim; j++) {
            const real *value = v + s->keys[j] * c->v_by[2];
            for (long e = d; e < c->v_dim; e++) o[e] += x[j] * value[e];
        }
    }
    long row = (r->batch * c->heads + r->head0) * c->q_len + row_at(r, 0);
    real by = sum == 0 ? 0 : 1 / sum;
    for (long d = 0; d < c->v_dim; d++) c->out_to[row * c->v_dim + d] = o[d] * by;
    c->lse_to[row] = sum == 0 ? -INFINITY : (real)(top * M_LN2 + log(sum));
    return all_finite(c->out_to + row * c->v_dim, c->v_dim);
}
