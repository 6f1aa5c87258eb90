/* Some rows of a tile against one block of its keys: packed copies, and which row sees which key. */

#pragma once

#include "schedule.h"

/* Some rows of a tile, in all query heads that share a key head. `n` = rows x heads; entry i is row row0 + i % rows of
   the tile, in query head head0 + i / rows. */
typedef struct {
    const Tile *tile;
    long repeat, batch, kv_head, head0, row0, rows, n;
} Rows;

INLINE long row_at(const Rows *r, long i) {
    const Tile *t = r->tile;
    return (t->rows ? t->rows[r->row0 + i] : t->q0 + r->row0 + i) + r->repeat * t->row_step;
}

INLINE const real *row_of(const Rows *r, const real *x, const int64_t by[3], long i) {
    return x + r->batch * by[0] + (r->head0 + i / r->rows) * by[1] + row_at(r, i % r->rows) * by[2];
}

INLINE const real *keys_of(const Rows *r, const real *x, const int64_t by[3]) {
    return x + r->batch * by[0] + r->kv_head * by[1];
}

/* Memory of one thread. Scores are (rows, BLOCK). Packed arrays interleave MR rows, or NR keys, so that a product reads
   them in sequence:

       rows a0 a1 a2 ..  b0 b1 b2 ..    ->    a0 b0 .. a1 b1 .. a2 b2 ..

   `top` and `total` are each row's maximum and sum of weights, `words` and `state` the mask of the current block,
   `seen` the columns of each panel that any row of a group sees. */
typedef struct {
    real *q, *o, *top, *total, *scores, *k, *v, *q_rows, *k_rows, *d_out, *d_out_rows, *d_scores, *d_k, *d_v, *delta;
    uint32_t *words, *seen;
    int32_t *cursor, *keys;
    uint8_t *state;
    void *all;
} Scratch;

static Scratch make_scratch(const Call *c, int backward) {
    long n = up(most(MOST_ROWS, c->heads / most(c->kv_heads, 1)), MR);
    long wide = up(most(c->dim, c->v_dim), NR);
    Scratch s;
    long f = sizeof(real), key = f * BLOCK, row = f * n, back = backward ? f * n : 0;
    struct { void **at; long bytes; } wanted[] = {
        {(void **)&s.q, row * c->dim}, {(void **)&s.o, row * wide}, {(void **)&s.top, row}, {(void **)&s.total, row},
        {(void **)&s.scores, backward ? row * BLOCK : MR * key}, {(void **)&s.k, key * c->dim},
        {(void **)&s.v, key * wide}, {(void **)&s.k_rows, key * wide}, {(void **)&s.words, 4 * n * PANELS},
        {(void **)&s.cursor, 4 * n}, {(void **)&s.keys, 4 * BLOCK}, {(void **)&s.state, n / MR * PANELS},
        {(void **)&s.seen, 4 * n / MR * PANELS},
        {(void **)&s.q_rows, back * wide}, {(void **)&s.d_out, back * c->v_dim}, {(void **)&s.d_out_rows, back * wide},
        {(void **)&s.d_scores, back * BLOCK}, {(void **)&s.delta, back}, {(void **)&s.d_k, key * wide},
        {(void **)&s.d_v, key * wide},
    };
    long total = 64, count = sizeof wanted / sizeof *wanted;
    for (long i = 0; i < count; i++) total += up(wanted[i].bytes, 64) + 64;
    s.all = malloc(total);
    char *at = (char *)(((uintptr_t)s.all + 63) / 64 * 64);
    for (long i = 0; i < count; i++) {
        *wanted[i].at = at;
        at += up(wanted[i].bytes, 64) + 64; /* a line apart: equal sizes must not share cache sets */
    }
    return s;
}

/* Packs the rows of x in panels of MR interleaved rows, multiplied by a factor; missing rows are 0. */
static void pack_rows(const Rows *r, const real *x, const int64_t by[3], long dim, real factor, real *to) {
    for (long first = 0; first < r->n; first += MR) {
        real *panel = to + first * dim;
        long here = least(MR, r->n - first), d = 0;
        const real *from[VL > MR ? VL : MR];
        for (long i = 0; i < here; i++) from[i] = row_of(r, x, by, first + i);
#if TRANSPOSES
        if (VL >= MR) { /* a vector reaches into the next column or panel, which is written later */
            for (; d + VL <= dim; d += VL) {
                vec a[VL];
                UNROLL for (int i = 0; i < VL; i++) {
                    a[i] = (vec){0};
                    if (i < here) a[i] = load(from[i] + d) * factor;
                }
                transpose(a);
                UNROLL for (int i = 0; i < VL; i++) store(panel + (d + i) * MR, a[i]);
            }
        }
#endif
        for (long i = 0; i < MR; i++)
            for (long e = d; e < dim; e++) panel[e * MR + i] = i < here ? from[i][e] * factor : 0;
    }
}

static void copy_rows(const Rows *r, const real *x, const int64_t by[3], long dim, real *to) {
    long wide = up(dim, NR);
    for (long i = 0; i < r->n; i++) {
        const real *from = row_of(r, x, by, i);
        for (long d = 0; d < dim; d++) to[i * wide + d] = from[d];
        for (long d = dim; d < wide; d++) to[i * wide + d] = 0;
    }
}

/* Packs the keys of one block in panels of NR interleaved keys: (panel, dim, NR). */
static void pack_keys(const real *x, long by, const int32_t *keys, long n, long dim, real *to) {
    for (long first = 0; first < n; first += NR) {
        real *panel = to + first * dim;
        long here = least(NR, n - first), d = 0;
#if TRANSPOSES
        for (; d + VL <= dim; d += VL) {
            for (long half = 0; half < NR; half += VL) {
                vec a[VL];
                UNROLL for (int i = 0; i < VL; i++)
                    a[i] = half + i < here ? load(x + keys[first + half + i] * by + d) : (vec){0};
                transpose(a);
                UNROLL for (int i = 0; i < VL; i++) store(panel + (d + i) * NR + half, a[i]);
            }
        }
#endif
        for (long j = 0; j < NR; j++) {
            const real *from = x + (j < here ? keys[first + j] * by : 0);
            for (long e = d; e < dim; e++) panel[e * NR + j] = j < here ? from[e] : 0;
        }
    }
}

/* Returns the vectors of these keys in sequence, padded to a multiple of NR numbers: in place if they already have this
   layout, else copied to `to`. `ld` is the stride from key to key. */
static const real *key_rows(const real *x, long by, const int32_t *keys, long n, long dim, real *to, long *ld) {
    if (keys[n - 1] - keys[0] == n - 1 && n % NR == 0 && dim % NR == 0) {
        *ld = by;
        return x + keys[0] * by;
    }
    *ld = up(dim, NR);
    for (long j = 0; j < up(n, NR); j++) {
        if (j < n) memcpy(to + j * *ld, x + keys[j] * by, sizeof(real) * dim);
        else memset(to + j * *ld, 0, sizeof(real) * dim);
        for (long d = dim; d < *ld; d++) to[j * *ld + d] = 0;
    }
    return to;
}

/* Converts columns [first, first + n) of a tile to keys. `range` is the current range of keys and `before` the number
   of columns before that range; both advance from block to block. */
static void list_keys(const Rows *r, long first, long n, long *range, long *before, int32_t *keys) {
    const Tile *t = r->tile;
    for (long j = 0; j < n; j++) {
        long size;
        while (first + j - *before >= (size = t->keys[2 * *range + 1] - t->keys[2 * *range])) {
            *before += size;
            ++*range;
        }
        keys[j] = t->keys[2 * *range] + (first + j - *before) + r->repeat * t->steps[*range];
    }
}

INLINE uint32_t ones(long a, long b) { /* bits [a, b) of a word, a < b <= 32 */
    return (b >= 32 ? 0xFFFFFFFFu : (1u << b) - 1) & ~((1u << a) - 1);
}

INLINE void set_bits(uint32_t *words, long a, long b, int value) {
    for (long p = a / NR; a < b; p++) {
        long end = least(b, (p + 1) * NR);
        uint32_t bits = ones(a - p * NR, end - p * NR);
        words[p] = value ? words[p] | bits : words[p] & ~bits;
        a = end;
    }
}

/* The next range of masked columns, and the number of masked columns before that range. */
typedef struct { long range, before; } Masked;

/* Computes which of the columns [first, first + n) each row sees: a word of NR bits for each panel. Returns whether any
   row misses any column. Blocks come in order, so each row's `cursor` advances through the row's runs. */
static int read_mask(const Rows *r, long first, long n, Masked *m, Scratch *s) {
    const Tile *t = r->tile;
    long last = first + n, ragged = n % NR != 0;
    while (m->range < t->n_masked && t->masked[2 * m->range + 1] <= first) {
        m->before += t->masked[2 * m->range + 1] - t->masked[2 * m->range];
        m->range++;
    }
    int masked = m->range < t->n_masked && t->masked[2 * m->range] < last;
    int cut = t->triangle && t->triangle + r->row0 < last;
    if (!masked && !cut && !ragged) return 0;
    for (long i = 0; i < r->rows; i++) {
        uint32_t *words = s->words + i * PANELS;
        memset(words, 0, 4 * PANELS);
        long row = r->row0 + i;
        set_bits(words, 0, t->triangle ? most(least(n, t->triangle + row - first), 0) : n, 1);
        if (!masked) continue;
        long before = m->before, run = s->cursor[i];
        for (long j = m->range; j < t->n_masked && t->masked[2 * j] < last; j++) {
            long a = t->masked[2 * j], b = t->masked[2 * j + 1], shift = a - before;
            set_bits(words, most(a, first) - first, least(b, last) - first, 0);
            /* runs are in masked columns: column = masked column + shift */
            while (run < t->runs) {
                long start = t->starts[run * t->pattern_height + row], end = t->ends[run * t->pattern_height + row];
                long low = most(most(start + shift, a), first), high = least(least(end + shift, b), last);
                if (low < high) set_bits(words, low - first, high - first, 1);
                if (end + shift > least(b, last)) break; /* the run continues in a later range or block */
                run++;
            }
            before += b - a;
        }
        s->cursor[i] = run;
    }
    return 1;
}

enum { NONE, SOME, ALL };

/* Computes how much of each panel each group of MR rows sees: (groups, PANELS). Returns whether any row sees a key. */
static int read_state(const Rows *r, long n, int masked, Scratch *s) {
    long groups = up(r->n, MR) / MR, panels = up(n, NR) / NR;
    if (!masked) {
        memset(s->state, ALL, groups * PANELS);
        memset(s->seen, 0xFF, 4 * groups * PANELS);
        return 1;
    }
    int any = 0;
    uint32_t full = ones(0, NR);
    for (long g = 0; g < groups; g++) {
        uint32_t some[PANELS] = {0}, all[PANELS];
        memset(all, 0xFF, sizeof all);
        for (long i = g * MR; i < least((g + 1) * MR, r->n); i++) {
            const uint32_t *words = s->words + i % r->rows * PANELS;
            UNROLL for (long p = 0; p < PANELS; p++) some[p] |= words[p], all[p] &= words[p];
        }
        for (long p = 0; p < panels; p++) {
            int state = !some[p] ? NONE : (all[p] & full) == full ? ALL : SOME;
            s->state[g * PANELS + p] = state;
            s->seen[g * PANELS + p] = some[p] & full;
            any |= state != NONE;
        }
    }
    return any;
}

/* Writes -inf over the scores that the rows of group g may not see, in one panel. */
INLINE void hide(const Rows *r, long g, long panel, const uint32_t *words, real *scores) {
#ifndef __AVX512F__
    ints bit;
    for (int i = 0; i < VL; i++) bit[i] = (whole)1 << i;
#endif
    for (long i = 0; i < MR; i++) {
        long row = least(g * MR + i, r->n - 1);
        if (row >= r->rows) row %= r->rows;
        uint32_t word = words[row * PANELS + panel];
        for (int half = 0; half < 2; half++) {
            real *x = scores + i * BLOCK + half * VL;
#if defined(__AVX512F__) && DOUBLE
            store(x, (vec)_mm512_mask_blend_pd(word >> half * VL, (__m512d)fill(-INFINITY), (__m512d)load(x)));
#elif defined(__AVX512F__)
            store(x, (vec)_mm512_mask_blend_ps(word >> half * VL, (__m512)fill(-INFINITY), (__m512)load(x)));
#else
            ints seen = (((whole)(word >> half * VL) - (ints){0}) & bit) == bit;
            store(x, pick(seen, load(x), fill(-INFINITY)));
#endif
        }
    }
}

/* The scores of group g against one panel of keys, of which a half that no row sees is left out. */
INLINE void scores_of(long g, long p, long dim, const real *rows, const real *keys, const Scratch *s, real *to) {
    uint32_t seen = s->seen[g * PANELS + p];
    if (!(seen >> VL)) product_half(dim, rows, keys, 0, to, BLOCK);
    else if (!(seen & ones(0, VL))) product_half(dim, rows, keys, 1, to, BLOCK);
    else product_packed(dim, rows, keys, to, BLOCK);
}

/* Panels [first, last) of one group as columns from the first to the last that any row sees. */
typedef struct { long first, n; } Columns;

INLINE Columns columns_of(const uint32_t *seen, long first, long last) {
    long a = first * NR + __builtin_ctz(seen[first]);
    long b = (last - 1) * NR + 32 - __builtin_clz(seen[last - 1] & ones(0, NR));
    return (Columns){a, b - a};
}
