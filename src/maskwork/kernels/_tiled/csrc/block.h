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

   `top` and `total` are each row's maximum and sum of weights, `words` and `state` the mask of the current block. */
typedef struct {
    real *q, *o, *top, *total, *scores, *k, *v, *q_rows, *k_rows, *d_out, *d_out_rows, *d_scores, *d_k, *d_v, *delta;
    uint32_t *words;
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
    for (long i = 0; i < up(r->n, MR); i++) {
        real *panel = to + i / MR * MR * dim + i % MR;
        if (i >= r->n) {
            for (long d = 0; d < dim; d++) panel[d * MR] = 0;
            continue;
        }
        const real *from = row_of(r, x, by, i);
        for (long d = 0; d < dim; d++) panel[d * MR] = from[d] * factor;
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
#if defined(__AVX__) && !defined(__AVX512F__) && !defined(__clang__) && !DOUBLE
        for (; here == NR && d + 8 <= dim; d += 8) {
            for (long half = 0; half < NR; half += 8) { /* transpose 8 x 8 numbers */
                vec a[8], b[8];
                UNROLL for (int i = 0; i < 8; i++) a[i] = load(x + keys[first + half + i] * by + d);
                ints low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
                UNROLL for (int i = 0; i < 4; i++) {
                    b[2 * i] = __builtin_shuffle(a[2 * i], a[2 * i + 1], low);
                    b[2 * i + 1] = __builtin_shuffle(a[2 * i], a[2 * i + 1], high);
                }
                ints even = {0, 1, 8, 9, 4, 5, 12, 13}, odd = {2, 3, 10, 11, 6, 7, 14, 15};
                UNROLL for (int i = 0; i < 2; i++) {
                    UNROLL for (int j = 0; j < 2; j++) {
                        a[4 * i + 2 * j] = __builtin_shuffle(b[4 * i + j], b[4 * i + 2 + j], even);
                        a[4 * i + 2 * j + 1] = __builtin_shuffle(b[4 * i + j], b[4 * i + 2 + j], odd);
                    }
                }
                ints left = {0, 1, 2, 3, 8, 9, 10, 11}, right = {4, 5, 6, 7, 12, 13, 14, 15};
                UNROLL for (int i = 0; i < 4; i++) {
                    store(panel + (d + i) * NR + half, __builtin_shuffle(a[i], a[4 + i], left));
                    store(panel + (d + 4 + i) * NR + half, __builtin_shuffle(a[i], a[4 + i], right));
                }
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
            any |= state != NONE;
        }
    }
    return any;
}

/* Writes -inf over the scores that the rows of group g may not see, in one panel. */
INLINE void hide(const Rows *r, long g, long panel, const uint32_t *words, real *scores) {
    ints bit;
    for (int i = 0; i < VL; i++) bit[i] = (whole)1 << i;
    for (long i = 0; i < MR; i++) {
        long row = least(g * MR + i, r->n - 1);
        uint32_t word = words[row % r->rows * PANELS + panel];
        for (int half = 0; half < 2; half++) {
            real *x = scores + i * BLOCK + half * VL;
            ints seen = (((whole)(word >> half * VL) - (ints){0}) & bit) == bit;
            store(x, pick(seen, load(x), fill(-INFINITY)));
        }
    }
}
