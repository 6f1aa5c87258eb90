/* Some rows of a tile against all its keys, backward. With weights p = 2^(score - lse) and delta = out . d_out - d_lse:

       d_score = scale p (d_out . v - delta)        d_q = d_score k        d_k += d_score^T q        d_v += p^T d_out */

#pragma once

#include "forward.h"

/* Adds to d_k (kv_len, dim) and d_v (kv_len, v_dim) of the rows' lane, and writes d_q of the rows. In this pass, s->top
   and s->total are the two parts of each row's log-sum-exp, and s->o accumulates d_q. */
static void backward_rows(const Call *c, const Rows *r, real *d_k, real *d_v, Scratch *s) {
    const Tile *t = r->tile;
    long dim = c->dim, v_dim = c->v_dim, wide = up(dim, NR), v_wide = up(v_dim, NR);
    long groups = up(r->n, MR) / MR, range = 0, before = 0, few = r->n <= FEW_ROWS;
    real scale = c->scale;
    const real *k = keys_of(r, c->k, c->k_by), *v = keys_of(r, c->v, c->v_by);
    Masked m = {0, 0};
    if (few) { /* a group is then not full, and its other rows must be finite */
        memset(s->scores, 0, sizeof(real) * groups * MR * BLOCK);
        memset(s->d_scores, 0, sizeof(real) * groups * MR * BLOCK);
    } else {
        pack_rows(r, c->q, c->q_by, dim, c->scale * M_LOG2E, s->q);
        pack_rows(r, c->d_out, c->d_out_by, v_dim, 1, s->d_out);
    }
    copy_rows(r, c->q, c->q_by, dim, s->q_rows);
    copy_rows(r, c->d_out, c->d_out_by, v_dim, s->d_out_rows);
    memset(s->o, 0, sizeof(real) * groups * MR * wide);
    memset(s->cursor, 0, 4 * r->rows);
    for (long i = 0; i < groups * MR; i++) {
        s->top[i] = INFINITY; /* weights 2^-inf = 0 for rows that see nothing and for missing rows */
        s->total[i] = s->delta[i] = 0;
        if (i >= r->n) continue;
        long head = r->head0 + i / r->rows, row = row_at(r, i % r->rows);
        long at = (r->batch * c->heads + head) * c->q_len + row;
        if (c->lse[at] == -INFINITY) continue;
        double lse = c->lse[at] * M_LOG2E; /* in two parts: one rounding error would show in all weights of the row */
        s->top[i] = lse;
        s->total[i] = lse - s->top[i];
        s->delta[i] = dot(row_of(r, c->out, c->out_by, i), s->d_out_rows + i * v_wide, v_dim) - (c->d_lse ? c->d_lse[at] : 0);
    }
    for (long first = 0; first < t->width; first += BLOCK) {
        long n = least(BLOCK, t->width - first), panels = up(n, NR) / NR, ldk;
        int masked = read_mask(r, first, n, &m, s);
        if (!read_state(r, n, masked, s)) continue;
        list_keys(r, first, n, &range, &before, s->keys);
        if (few) {
            for (long i = 0; i < r->n; i++) {
                dots(s->q_rows + i * wide, k, c->k_by[2], s->keys, n, dim, c->scale * M_LOG2E, s->scores + i * BLOCK);
                dots(s->d_out_rows + i * v_wide, v, c->v_by[2], s->keys, n, v_dim, 1, s->d_scores + i * BLOCK);
            }
        } else {
            pack_keys(k, c->k_by[2], s->keys, n, dim, s->k);
            pack_keys(v, c->v_by[2], s->keys, n, v_dim, s->v);
        }
        const real *keys = key_rows(k, c->k_by[2], s->keys, n, dim, s->k_rows, &ldk);
        long low = groups, high = 0; /* [low, high): the groups that see a key of the block */
        for (long g = 0; g < groups; g++) {
            const uint8_t *state = s->state + g * PANELS;
            real *p = s->scores + g * MR * BLOCK, *ds = s->d_scores + g * MR * BLOCK;
            long any = 0;
            for (long j = 0; j < panels; j++) any |= state[j] != NONE;
            if (any && g < low) low = g;
            if (any) high = g + 1;
            for (long j = 0; j < PANELS; j++) {
                real *pj = p + j * NR, *dj = ds + j * NR;
                if (j >= panels || state[j] == NONE) {
                    for (long i = 0; i < MR; i++) {
                        store(pj + i * BLOCK, (vec){0}), store(pj + i * BLOCK + VL, (vec){0});
                        store(dj + i * BLOCK, (vec){0}), store(dj + i * BLOCK + VL, (vec){0});
                    }
                    continue;
                }
                if (!few) {
                    scores_of(g, j, dim, s->q + g * MR * dim, s->k + j * NR * dim, s, pj);
                    scores_of(g, j, v_dim, s->d_out + g * MR * v_dim, s->v + j * NR * v_dim, s, dj);
                }
                if (state[j] == SOME) hide(r, g, j, s->words, pj);
                for (long i = 0; i < MR; i++) {
                    real top = s->top[g * MR + i], rest = s->total[g * MR + i], delta = s->delta[g * MR + i];
                    for (long e = i * BLOCK; e < i * BLOCK + NR; e += VL) {
                        vec weight = exp2_of(load(pj + e) - top - rest);
                        store(pj + e, weight);
                        store(dj + e, weight * scale * (load(dj + e) - delta));
                    }
                }
            }
            for (long i = 0, j; any && i < panels; i = j) {
                for (j = i; j < panels && state[j] != NONE;) j++;
                for (long d = 0; j > i && d < wide; d += NR)
                    product_rows((j - i) * NR, ds + i * NR, BLOCK, keys + i * NR * ldk + d, ldk,
                                 s->o + g * MR * wide + d, wide);
                while (j < panels && state[j] == NONE) j++;
            }
        }
        long rows = least(high * MR, r->n) - low * MR;
        if (rows <= 0) continue;
        /* write into the gradients directly if the block's keys are contiguous */
        int there = s->keys[n - 1] - s->keys[0] == n - 1 && n % MR == 0;
        int k_there = there && dim % NR == 0, v_there = there && v_dim % NR == 0;
        real *to_k = k_there ? d_k + s->keys[0] * dim : s->d_k, *to_v = v_there ? d_v + s->keys[0] * v_dim : s->d_v;
        if (!k_there) memset(to_k, 0, sizeof(real) * BLOCK * wide);
        if (!v_there) memset(to_v, 0, sizeof(real) * BLOCK * v_wide);
        for (long j = 0; j < n; j += MR) {
            const real *p = s->scores + low * MR * BLOCK + j, *ds = s->d_scores + low * MR * BLOCK + j;
            for (long d = 0; d < v_wide; d += NR)
                product_columns(rows, p, BLOCK, s->d_out_rows + low * MR * v_wide + d, v_wide, to_v + j * v_wide + d,
                                v_wide);
            for (long d = 0; d < wide; d += NR)
                product_columns(rows, ds, BLOCK, s->q_rows + low * MR * wide + d, wide, to_k + j * wide + d, wide);
        }
        for (long j = 0; !k_there && j < n; j++)
            for (long d = 0; d < dim; d++) d_k[s->keys[j] * dim + d] += to_k[j * wide + d];
        for (long j = 0; !v_there && j < n; j++)
            for (long d = 0; d < v_dim; d++) d_v[s->keys[j] * v_dim + d] += to_v[j * v_wide + d];
    }
    for (long i = 0; i < r->n; i++) {
        long head = r->head0 + i / r->rows;
        real *to = c->d_q + ((r->batch * c->heads + head) * c->q_len + row_at(r, i % r->rows)) * dim;
        for (long d = 0; d < dim; d++) to[d] = s->o[i * wide + d];
    }
}
