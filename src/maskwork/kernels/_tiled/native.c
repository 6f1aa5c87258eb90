/* The tiles of a schedule, forward and backward, in float32 or, with -DDOUBLE=1, in float64: products, mask and softmax while a block is in the cache.

   A tile's rows, of all query heads that share a key head, are taken MR at a time against panels of NR keys; a panel
   that none of these rows may see is left out, and only one that some of them may not see is masked. So the work
   follows the mask by MR x NR cells, however tall the tile. The softmax runs with a maximum, block by block (Milakov
   and Gimelshein 2018); the backward makes the weights again from the log-sum-exp (FlashAttention, Dao et al. 2022).
   Vectors are those of GCC and Clang, so that this is one source for every processor. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

#if DOUBLE
typedef double real;
typedef int64_t whole; /* as wide as a real */
#else
#define DOUBLE 0
typedef float real;
typedef int32_t whole;
#endif

/* Bytes in a vector, rows in a product's inner tile: its accumulators, MR x 2 vectors, fill the registers. */
#if defined(__AVX512F__)
#define BYTES 64
#define MR 12
#elif defined(__AVX__)
#define BYTES 32
#define MR 6
#elif defined(__aarch64__)
#define BYTES 16
#define MR 8
#else
#define BYTES 16
#define MR 6
#endif
#define VL ((int)(BYTES / sizeof(real)))
#define NR (2 * VL)
#define BLOCK 96 /* keys in a block: a multiple of MR and of NR */
#define PANELS (BLOCK / NR)
#define MOST_ROWS 192 /* rows, over all heads, that go through a block of keys together */
#define SEGMENT_ROWS 192
#define FEW_ROWS 8 /* as few rows read keys where they lie */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef real vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef whole ints __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p) { return *(const vec *)p; }
INLINE void store(real *p, vec x) { *(vec *)p = x; }
INLINE vec fill(real x) { return x - (vec){0}; }
INLINE vec pick(ints yes, vec a, vec b) { return (vec)((yes & (ints)a) | (~yes & (ints)b)); }
INLINE vec larger(vec a, vec b) { /* b where either is NaN */
#if defined(__AVX512F__) && DOUBLE
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__) && DOUBLE
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return pick(a > b, a, b);
#endif
}

INLINE real sum_of(vec x) {
    real s = 0;
    for (int i = 0; i < VL; i++) s += x[i];
    return s;
}

INLINE real max_of(vec x) {
    real m = x[0];
    for (int i = 1; i < VL; i++) m = x[i] > m ? x[i] : m;
    return m;
}

/* 2^x for x <= 0, to about one unit in the last place; 0 where that is too small for a normal number. NaN stays NaN.
   x = n + f with a whole n; 2^f by its Taylor series, as far as the precision needs. */
INLINE vec exp2_of(vec x) {
    static const double series[] = {
        1.0, 0.6931471805599453, 0.2402265069591007, 0.055504108664821576, 0.009618129107628477,
        0.0013333558146428441, 0.00015403530393381606, 1.5252733804059838e-05, 1.3215486790144305e-06,
        1.0178086009239696e-07, 7.054911620801121e-09, 4.44553827187081e-10,
        2.5678435993488196e-11, 1.3691488853904124e-12};
    const real lowest = DOUBLE ? -1023 : -127, big = DOUBLE ? 6755399441055744.0 : 12582912.0; /* 1.5 * 2^52, 2^23 */
    vec y = larger(fill(lowest), x), shifted = y + big; /* whose last bits are n */
    vec f = y - (shifted - big);
    const int degree = DOUBLE ? 13 : 7;
    vec p = fill(series[degree]);
    UNROLL for (int i = degree - 1; i >= 0; i--) p = p * f + (real)series[i];
    return p * (vec)((ints)(shifted + -lowest) << (DOUBLE ? 52 : 23)); /* the bits of 2^n; those of 0 at the lowest */
}

/* C (MR x NR) (+)= A (MR x k) B (k x NR); A(i, j) lies at a[i * by_row + j * by_col]. */
INLINE void product(
    long k, const real *a, long by_row, long by_col, const real *b, long ldb, real *c, long ldc, int add) {
    vec acc[MR][2] = {0}; /* from 0, even to be added: sums of sums err less */
    for (long j = 0; j < k; j++) {
        vec b0 = load(b), b1 = load(b + VL);
        UNROLL for (int i = 0; i < MR; i++) {
            real x = a[i * by_row];
            acc[i][0] += x * b0;
            acc[i][1] += x * b1;
        }
        a += by_col;
        b += ldb;
    }
    UNROLL for (int i = 0; i < MR; i++) {
        real *to = c + i * ldc;
        if (add) acc[i][0] += load(to), acc[i][1] += load(to + VL);
        store(to, acc[i][0]);
        store(to + VL, acc[i][1]);
    }
}

static void product_packed(long k, const real *a, const real *b, real *c, long ldc) {
    product(k, a, 1, MR, b, NR, c, ldc, 0);
}

static void product_rows(long k, const real *a, long lda, const real *b, long ldb, real *c, long ldc) {
    product(k, a, lda, 1, b, ldb, c, ldc, 1);
}

static void product_columns(long k, const real *a, long lda, const real *b, long ldb, real *c, long ldc) {
    product(k, a, 1, lda, b, ldb, c, ldc, 1);
}

/* What the caller passes, all in one: see _native.py. Strides count numbers; the last dimension is contiguous. */
typedef struct {
    const int32_t *schedule;
    const real *q, *k, *v, *out, *lse, *d_out, *d_lse;
    real *out_to, *lse_to, *d_q, *d_k, *d_v;
    int64_t batch, heads, kv_heads, q_len, kv_len, dim, v_dim;
    int64_t q_by[3], k_by[3], v_by[3], out_by[3], d_out_by[3];
    int64_t threads, parts;
    double scale;
} Call;

/* A tile of the schedule, or some rows of a segment. */
typedef struct {
    int32_t batch, head, q0, height, n_keys, n_masked, runs, pattern_height, repeats, row_step, triangle;
    int64_t width;
    const int32_t *rows, *keys, *masked, *starts, *ends, *steps;
    int32_t own_keys[2];
} Tile;

/* A repeat of a tile in one lane: a key head of a batch row, with its query heads. */
typedef struct {
    const Tile *tile;
    int32_t repeat, batch, kv_head, row;
} Unit;

/* The units in order of lanes, then of rows: neighbours read the same keys, while these are in the cache. */
typedef struct {
    Tile *tiles;
    Unit *units;
    int64_t n;
} Plan;

INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long most(long a, long b) { return a > b ? a : b; }
INLINE long up(long x, long unit) { return (x + unit - 1) / unit * unit; }

static const int32_t no_steps[1] = {0};

/* Whether a tile lies within the call's tensors: a schedule of another grid must not write beyond them. */
static int fits(const Call *c, const Tile *t) {
    long further = t->repeats - 1, last = t->q0 + t->height;
    for (long i = 0; t->rows && i < t->height; i++) last = most(last, t->rows[i] + 1);
    if (last + further * t->row_step > c->q_len || t->batch >= c->batch || t->head >= c->heads) return 0;
    for (long i = 0; i < t->n_keys; i++)
        if (t->keys[2 * i + 1] + further * t->steps[i] > c->kv_len) return 0;
    return 1;
}

static int by_lane(const void *one, const void *other) {
    const Unit *a = one, *b = other;
    if (a->batch != b->batch) return a->batch < b->batch ? -1 : 1;
    if (a->kv_head != b->kv_head) return a->kv_head < b->kv_head ? -1 : 1;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return a->tile < b->tile ? -1 : a->tile > b->tile;
}

/* The units of a call; n is -1 where a tile does not fit. */
static Plan read_plan(const Call *c) {
    const int32_t *s = c->schedule;
    long n_segments = s[1], n_tiles = s[2], n_patterns = s[3], most_tiles = n_tiles, n = 0, units = 0;
    const int32_t *segments = s + 4, *tiles = segments + 7 * n_segments, *patterns = tiles + 13 * n_tiles;
    const int32_t *data = patterns + 4 * n_patterns;
    for (long i = 0; i < n_segments; i++)
        most_tiles += (segments[7 * i + 3] - segments[7 * i + 2] + SEGMENT_ROWS - 1) / SEGMENT_ROWS;
    Plan plan = {calloc(most_tiles + 1, sizeof(Tile)), NULL, 0};
    for (long i = 0; i < n_segments; i++) {
        const int32_t *e = segments + 7 * i;
        long rows = e[3] - e[2], chunks = (rows + SEGMENT_ROWS - 1) / SEGMENT_ROWS;
        for (long j = 0; j < chunks; j++) {
            Tile *t = plan.tiles + n++;
            long first = rows * j / chunks, last = rows * (j + 1) / chunks;
            t->batch = e[0], t->head = e[1], t->q0 = e[2] + first, t->height = last - first;
            t->own_keys[0] = e[4], t->own_keys[1] = e[5] + (e[6] ? last : 0);
            t->n_keys = 1, t->keys = t->own_keys, t->steps = no_steps, t->repeats = 1;
            t->width = t->own_keys[1] - t->own_keys[0];
            t->triangle = e[6] ? e[5] - e[4] + first + 1 : 0;
        }
    }
    for (long i = 0; i < n_tiles; i++) {
        const int32_t *e = tiles + 13 * i;
        Tile *t = plan.tiles + n++;
        t->batch = e[0], t->head = e[1], t->q0 = e[2], t->height = e[4];
        t->rows = e[2] < 0 ? data + e[3] : NULL;
        t->n_keys = e[5], t->keys = data + e[6], t->n_masked = e[7], t->masked = data + e[8];
        if (e[9] >= 0) {
            const int32_t *p = patterns + 4 * e[9];
            t->runs = p[0], t->pattern_height = p[1];
            t->starts = data + p[3], t->ends = t->starts + (long)p[0] * p[1];
        }
        t->repeats = e[10], t->row_step = e[11], t->steps = data + e[12];
        for (long j = 0; j < t->n_keys; j++) t->width += t->keys[2 * j + 1] - t->keys[2 * j];
    }
    for (const Tile *t = plan.tiles; t < plan.tiles + n; t++) {
        if (!fits(c, t)) {
            plan.n = -1;
            return plan;
        }
        units += t->repeats * (t->batch < 0 ? c->batch : 1) * (t->head < 0 ? c->kv_heads : 1);
    }
    plan.units = malloc(units * sizeof(Unit) + 1);
    for (const Tile *t = plan.tiles; t < plan.tiles + n; t++) {
        long kv_head = t->head < 0 ? 0 : t->head / (c->heads / c->kv_heads), first = t->rows ? t->rows[0] : t->q0;
        for (long b = most(t->batch, 0); b < (t->batch < 0 ? c->batch : t->batch + 1); b++)
            for (long h = kv_head; h < (t->head < 0 ? c->kv_heads : kv_head + 1); h++)
                for (long i = 0; i < t->repeats; i++)
                    plan.units[plan.n++] = (Unit){t, i, b, h, first + i * t->row_step};
    }
    qsort(plan.units, plan.n, sizeof(Unit), by_lane);
    return plan;
}

static void free_plan(Plan plan) {
    free(plan.tiles);
    free(plan.units);
}

/* Some rows of a tile, with all query heads that share a key head: row r of them is row r % rows of the tile's part,
   in query head head0 + r / rows. */
typedef struct {
    const Tile *tile;
    long repeat, batch, kv_head, head0, row0, rows, n;
} Rows;

INLINE long row_at(const Rows *r, long i) {
    const Tile *t = r->tile;
    return (t->rows ? t->rows[r->row0 + i] : t->q0 + r->row0 + i) + r->repeat * t->row_step;
}

/* A thread's memory. Scores are (rows, BLOCK); what is packed holds MR rows, or NR keys, beside each other. */
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
        at += up(wanted[i].bytes, 64) + 64; /* a line apart, so that equal sizes do not meet in the cache */
    }
    return s;
}

/* Rows of x (gathered through `Rows`) as panels of MR beside each other, times a factor; missing rows are 0. */
static void pack_rows(const Rows *r, const real *x, const int64_t by[3], long dim, real factor, real *to) {
    for (long i = 0; i < up(r->n, MR); i++) {
        real *panel = to + i / MR * MR * dim + i % MR;
        if (i >= r->n) {
            for (long d = 0; d < dim; d++) panel[d * MR] = 0;
            continue;
        }
        const real *from = x + r->batch * by[0] + (r->head0 + i / r->rows) * by[1] + row_at(r, i % r->rows) * by[2];
        for (long d = 0; d < dim; d++) panel[d * MR] = from[d] * factor;
    }
}

static void copy_rows(const Rows *r, const real *x, const int64_t by[3], long dim, real *to) {
    long wide = up(dim, NR);
    for (long i = 0; i < r->n; i++) {
        const real *from = x + r->batch * by[0] + (r->head0 + i / r->rows) * by[1] + row_at(r, i % r->rows) * by[2];
        for (long d = 0; d < dim; d++) to[i * wide + d] = from[d];
        for (long d = dim; d < wide; d++) to[i * wide + d] = 0;
    }
}

/* Keys of one block as panels of NR beside each other: (panel, dim, NR). */
static void pack_keys(const real *x, long by, const int32_t *keys, long n, long dim, real *to) {
    for (long first = 0; first < n; first += NR) {
        real *panel = to + first * dim;
        long here = least(NR, n - first), d = 0;
#if defined(__AVX__) && !defined(__AVX512F__) && !defined(__clang__) && !DOUBLE
        for (; here == NR && d + 8 <= dim; d += 8) {
            for (long half = 0; half < NR; half += 8) { /* 8 x 8 numbers turned over */
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

/* The rows of these keys one below the other, NR-wide: where they lie if they lie so, else copied into `to`. */
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

/* Columns [first, first + n) of a tile, as keys; ranges are walked on from `range` and `before`, columns ahead of it. */
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

/* Where a block's masked columns stand: which range is next, and how many masked columns lie before it. */
typedef struct { long range, before; } Masked;

/* What each row of the part sees of columns [first, first + n): a word of NR bits a panel. Returns whether any row
   misses any of them; blocks come in order, and each row's runs are walked on by its cursor. */
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
            /* runs are counted in masked columns: column = run + shift */
            while (run < t->runs) {
                long start = t->starts[run * t->pattern_height + row], end = t->ends[run * t->pattern_height + row];
                long low = most(most(start + shift, a), first), high = least(least(end + shift, b), last);
                if (low < high) set_bits(words, low - first, high - first, 1);
                if (end + shift > least(b, last)) break; /* it goes on in a later range or block */
                run++;
            }
            before += b - a;
        }
        s->cursor[i] = run;
    }
    return 1;
}

enum { NONE, SOME, ALL };

/* How much of each panel each MR rows see: (groups, PANELS). Returns whether there is anything. */
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

INLINE void hide(const Rows *r, long g, long panel, const uint32_t *words, real *scores, real hidden) {
    ints bit;
    for (int i = 0; i < VL; i++) bit[i] = (whole)1 << i;
    for (long i = 0; i < MR; i++) {
        long row = least(g * MR + i, r->n - 1);
        uint32_t word = words[row % r->rows * PANELS + panel];
        for (int half = 0; half < 2; half++) {
            real *x = scores + i * BLOCK + half * VL;
            ints seen = (((whole)(word >> half * VL) - (ints){0}) & bit) == bit;
            store(x, pick(seen, load(x), fill(hidden)));
        }
    }
}

/* The softmax of MR rows goes on over `n` more columns: weights in place of scores, sums and maxima moved on. */
static void soften(real *scores, long n, real *top, real *total, real *o, long wide) {
    for (long i = 0; i < MR; i++) {
        real *x = scores + i * BLOCK;
        vec m0 = fill(-INFINITY), m1 = m0;
        for (long j = 0; j < n; j += NR) m0 = larger(load(x + j), m0), m1 = larger(load(x + j + VL), m1);
        real before = top[i], now = max_of(larger(m0, m1));
        now = before > now ? before : now;
        if (now == -INFINITY) { /* nothing seen yet; a NaN is not larger than anything, and shows in the sum */
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

/* Rows [0, n) of one lane against all keys of their tile, ending in output and log-sum-exp. */
static void forward_rows(const Call *c, const Rows *r, Scratch *s) {
    const Tile *t = r->tile;
    long wide = up(c->v_dim, NR), groups = up(r->n, MR) / MR, range = 0, before = 0;
    const real *k = c->k + r->batch * c->k_by[0] + r->kv_head * c->k_by[1];
    const real *v = c->v + r->batch * c->v_by[0] + r->kv_head * c->v_by[1];
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
                product_packed(c->dim, s->q + g * MR * c->dim, s->k + p * NR * c->dim, x, BLOCK);
                if (state[p] == SOME) hide(r, g, p, s->words, x, -INFINITY);
                at[seen++] = p;
            }
            if (!seen) continue;
            real *o = s->o + g * MR * wide;
            soften(s->scores, seen * NR, s->top + g * MR, s->total + g * MR, o, wide);
            for (long i = 0, j; i < seen; i = j) { /* panels that follow each other in one product */
                for (j = i + 1; j < seen && at[j] == at[j - 1] + 1;) j++;
                for (long d = 0; d < wide; d += NR)
                    product_rows(
                        (j - i) * NR, s->scores + i * NR, BLOCK, values + at[i] * NR * ldv + d, ldv, o + d, wide);
            }
        }
    }
    for (long i = 0; i < r->n; i++) {
        long head = r->head0 + i / r->rows, row = (r->batch * c->heads + head) * c->q_len + row_at(r, i % r->rows);
        real total = s->total[i], *out = c->out_to + row * c->v_dim;
        real by = total == 0 ? 0 : 1 / total;
        for (long d = 0; d < c->v_dim; d++) out[d] = s->o[i * wide + d] * by;
        c->lse_to[row] = total == 0 ? -INFINITY : s->top[i] * (real)M_LN2 + (real)log(total);
    }
}

static real dot(const real *a, const real *b, long n) {
    vec acc = {0};
    long even = n / VL * VL;
    for (long d = 0; d < even; d += VL) acc += load(a + d) * load(b + d);
    real sum = sum_of(acc);
    for (long d = even; d < n; d++) sum += a[d] * b[d];
    return sum;
}

/* One row times each of n keys, where they lie. Its sums are of VL parts, and err less than those of a product. */
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

/* One row, its keys read once and where they lie: decoding. */
static void forward_row(const Call *c, const Rows *r, Scratch *s) {
    const Tile *t = r->tile;
    long range = 0, before = 0, wide = up(c->v_dim, VL);
    const real *k = c->k + r->batch * c->k_by[0] + r->kv_head * c->k_by[1];
    const real *v = c->v + r->batch * c->v_by[0] + r->kv_head * c->v_by[1];
    Masked m = {0, 0};
    real *o = s->o, *x = s->scores, top = -INFINITY, sum = 0;
    const real *q = c->q + r->batch * c->q_by[0] + r->head0 * c->q_by[1] + row_at(r, 0) * c->q_by[2];
    memset(o, 0, sizeof(real) * wide);
    s->cursor[0] = 0;
    for (long first = 0; first < t->width; first += BLOCK) {
        long n = least(BLOCK, t->width - first);
        int masked = read_mask(r, first, n, &m, s);
        if (!read_state(r, n, masked, s)) continue;
        list_keys(r, first, n, &range, &before, s->keys);
        dots(q, k, c->k_by[2], s->keys, n, c->dim, c->scale * M_LOG2E, x);
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
    c->lse_to[row] = sum == 0 ? -INFINITY : top * (real)M_LN2 + (real)log(sum);
}

/* The backward of the same rows. Adds to d_k and d_v (kv_len, dim) of their lane, and writes their d_q. */
static void backward_rows(const Call *c, const Rows *r, real *d_k, real *d_v, Scratch *s) {
    const Tile *t = r->tile;
    long dim = c->dim, v_dim = c->v_dim, wide = up(dim, NR), v_wide = up(v_dim, NR);
    long groups = up(r->n, MR) / MR, range = 0, before = 0, few = r->n <= FEW_ROWS;
    real scale = c->scale;
    const real *k = c->k + r->batch * c->k_by[0] + r->kv_head * c->k_by[1];
    const real *v = c->v + r->batch * c->v_by[0] + r->kv_head * c->v_by[1];
    Masked m = {0, 0};
    memset(s->scores, 0, sizeof(real) * groups * MR * BLOCK); /* finite where few rows leave them */
    memset(s->d_scores, 0, sizeof(real) * groups * MR * BLOCK);
    pack_rows(r, c->q, c->q_by, dim, c->scale * M_LOG2E, s->q);
    copy_rows(r, c->q, c->q_by, dim, s->q_rows);
    pack_rows(r, c->d_out, c->d_out_by, v_dim, 1, s->d_out);
    copy_rows(r, c->d_out, c->d_out_by, v_dim, s->d_out_rows);
    memset(s->o, 0, sizeof(real) * groups * MR * wide);
    memset(s->cursor, 0, 4 * r->rows);
    for (long i = 0; i < groups * MR; i++) {
        s->top[i] = INFINITY, s->total[i] = s->delta[i] = 0; /* 2^-inf: rows that see nothing, or are not there, have no weights */
        if (i >= r->n) continue;
        long head = r->head0 + i / r->rows, row = row_at(r, i % r->rows);
        long at = (r->batch * c->heads + head) * c->q_len + row;
        if (c->lse[at] == -INFINITY) continue;
        double lse = c->lse[at] * M_LOG2E; /* in two parts: rounded once more, it would show in all weights of the row */
        s->top[i] = lse;
        s->total[i] = lse - s->top[i];
        const real *out = c->out + r->batch * c->out_by[0] + head * c->out_by[1] + row * c->out_by[2];
        s->delta[i] = dot(out, s->d_out_rows + i * v_wide, v_dim) - (c->d_lse ? c->d_lse[at] : 0);
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
        long low = groups, high = 0; /* groups that see any of the block */
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
                    product_packed(dim, s->q + g * MR * dim, s->k + j * NR * dim, pj, BLOCK);
                    product_packed(v_dim, s->d_out + g * MR * v_dim, s->v + j * NR * v_dim, dj, BLOCK);
                }
                if (state[j] == SOME) hide(r, g, j, s->words, pj, -INFINITY);
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
        /* straight into the gradients where the block's keys lie as its columns do */
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

/* The rows of a unit, in parts of equal size, forward (d_k NULL) or backward. */
static void run_unit(const Call *c, const Unit *u, real *d_k, real *d_v, Scratch *s) {
    const Tile *t = u->tile;
    long heads = t->head < 0 ? c->heads / c->kv_heads : 1;
    long head0 = t->head < 0 ? u->kv_head * heads : t->head;
    Rows r = {t, u->repeat, u->batch, u->kv_head, head0, 0, 1, 1};
    if (!d_k && t->height * heads <= FEW_ROWS) {
        for (r.head0 = head0; r.head0 < head0 + heads; r.head0++)
            for (r.row0 = 0; r.row0 < t->height; r.row0++) forward_row(c, &r, s);
        return;
    }
    long parts = least((t->height * heads + MOST_ROWS - 1) / MOST_ROWS, t->height);
    for (long i = 0; i < parts; i++) {
        r.row0 = t->height * i / parts;
        r.rows = t->height * (i + 1) / parts - r.row0;
        r.n = r.rows * heads;
        if (d_k) backward_rows(c, &r, d_k, d_v, s);
        else forward_rows(c, &r, s);
    }
}

/* Writes out_to (B, Hq, Q, Dv) and lse_to (B, Hq, Q), both contiguous, for the rows that the schedule has.
   Returns whether the schedule fits the tensors; nothing is written where it does not. */
int maskwork_forward(const Call *c) {
    Plan plan = read_plan(c);
#pragma omp parallel num_threads(c->threads) if (plan.n > 1)
    {
        Scratch s = make_scratch(c, 0);
#pragma omp for schedule(dynamic, 1)
        for (long i = 0; i < plan.n; i++) run_unit(c, plan.units + i, NULL, NULL, &s);
        free(s.all);
    }
    free_plan(plan);
    return plan.n >= 0;
}

/* Writes d_q like q, and adds to d_k and d_v (parts, B, Hkv, K, D), all contiguous. Each part of a lane's units has
   gradients of keys for itself: no two threads write to one place, and sums do not depend on who came first. */
int maskwork_backward(const Call *c) {
    Plan plan = read_plan(c);
    long lanes = c->batch * c->kv_heads, parts = c->parts;
    int64_t *first = calloc(lanes + 1, sizeof(int64_t)); /* where each lane's units begin */
    for (long i = 0; i < plan.n; i++) first[plan.units[i].batch * c->kv_heads + plan.units[i].kv_head + 1]++;
    for (long i = 0; i < lanes; i++) first[i + 1] += first[i];
#pragma omp parallel num_threads(c->threads) if (lanes * parts > 1)
    {
        Scratch s = make_scratch(c, 1);
#pragma omp for schedule(dynamic, 1)
        for (long job = 0; job < lanes * parts; job++) {
            long lane = job / parts, at = job % parts * lanes + lane;
            for (long i = first[lane] + job % parts; i < first[lane + 1]; i += parts)
                run_unit(c, plan.units + i, c->d_k + at * c->kv_len * c->dim, c->d_v + at * c->kv_len * c->v_dim, &s);
        }
        free(s.all);
    }
    free(first);
    free_plan(plan);
    return plan.n >= 0;
}
