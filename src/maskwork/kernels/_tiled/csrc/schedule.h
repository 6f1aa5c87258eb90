/* The arguments of a call, and the schedule decoded into units of work. The top of schedule.py describes the layout of
   the schedule, column by column. */

#pragma once

#include "vectors.h"

/* The arguments of a call, in the order in which native.py packs them. A null pointer is an absent tensor. Strides are
   in numbers, not bytes; the last dimension of every tensor is contiguous. */
typedef struct {
    const int32_t *schedule;
    const real *q, *k, *v, *out, *lse, *d_out, *d_lse;
    real *out_to, *lse_to, *d_q, *d_k, *d_v;
    int64_t batch, heads, kv_heads, q_len, kv_len, dim, v_dim;
    int64_t q_by[3], k_by[3], v_by[3], out_by[3], d_out_by[3];
    int64_t threads, parts;
    double scale;
} Call;

/* A tile of the schedule, or some rows of a segment. `rows` is null for contiguous rows from q0. `triangle` is 0 for a
   tile; in a segment with a triangle, row i sees the first `triangle + i` columns. */
typedef struct {
    int32_t batch, head, q0, height, n_keys, n_masked, runs, pattern_height, repeats, row_step, triangle;
    int64_t width;
    const int32_t *rows, *keys, *masked, *starts, *ends, *steps;
    int32_t own_keys[2];
} Tile;

/* A unit of work: one repeat of a tile in one lane. A lane is a key head of a batch row, with its query heads. */
typedef struct {
    const Tile *tile;
    int32_t repeat, batch, kv_head, row;
} Unit;

/* All units, sorted by lane and then by row: successive units read the same keys while those are in the cache. */
typedef struct {
    Tile *tiles;
    Unit *units;
    int64_t n;
} Plan;

static const int32_t no_steps[1] = {0};

/* Returns whether a tile lies within the call's tensors. A schedule of another grid must not make us write beyond. */
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

/* Decodes the schedule. A segment is cut into tiles of at most SEGMENT_ROWS rows. n is -1 if a tile does not fit. */
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
