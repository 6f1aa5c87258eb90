/* The tiles of a schedule, forward and backward, in float32 or, with -DDOUBLE=1, in float64: products, mask and softmax
   while a block of keys is in the cache.

   The rows of a tile, of all query heads that share a key head, are computed in groups of MR rows against panels of NR
   keys. A panel that none of the MR rows sees is skipped (NONE), and a panel that some of them do not see is masked
   (SOME). So the work follows the mask in steps of MR x NR cells, however tall the tile is:

                      a block of BLOCK keys, in panels of NR
                  +--------+--------+--------+--------+
       MR rows    |  ALL   |  SOME  |  NONE  |  NONE  |
                  +--------+--------+--------+--------+
       MR rows    |  SOME  |  ALL   |  SOME  |  NONE  |
                  +--------+--------+--------+--------+

   The forward updates each row's maximum, sum and output block by block (online softmax, Milakov and Gimelshein 2018).
   The backward recomputes the weights from the log-sum-exp (FlashAttention, Dao et al. 2022).

   vectors.h    vectors, 2^x and the inner tile of every matrix product
   schedule.h   the arguments, and the schedule as units of work
   block.h      rows of a tile against one block of its keys: packed copies, and the mask as bits
   forward.h    all blocks of some rows, forward
   backward.h   the same, backward */

#include "backward.h"

/* Computes a unit, in parts of about equal numbers of rows: forward if d_k is null, else backward. Returns whether the
   output is finite. */
static int run_unit(const Call *c, const Unit *u, real *d_k, real *d_v, Scratch *s) {
    const Tile *t = u->tile;
    long heads = t->head < 0 ? c->heads / c->kv_heads : 1;
    long head0 = t->head < 0 ? u->kv_head * heads : t->head;
    int finite = 1;
    Rows r = {t, u->repeat, u->batch, u->kv_head, head0, 0, 1, 1};
    if (!d_k && t->height * heads <= FEW_ROWS) {
        for (r.head0 = head0; r.head0 < head0 + heads; r.head0++)
            for (r.row0 = 0; r.row0 < t->height; r.row0++) finite &= forward_row(c, &r, s);
        return finite;
    }
    long fit = most(MOST_ROWS / heads, 1), parts = (t->height + fit - 1) / fit; /* of whole rows, in all heads */
    for (long i = 0; i < parts; i++) {
        r.row0 = t->height * i / parts;
        r.rows = t->height * (i + 1) / parts - r.row0;
        r.n = r.rows * heads;
        if (d_k) backward_rows(c, &r, d_k, d_v, s);
        else finite &= forward_rows(c, &r, s);
    }
    return finite;
}

enum { MISFIT, FINITE, NOT_FINITE };

/* Writes out_to (B, Hq, Q, Dv) and lse_to (B, Hq, Q), both contiguous. Returns MISFIT, and writes nothing, if the
   schedule does not fit these tensors; else FINITE or NOT_FINITE for the output. */
int maskwork_forward(const Call *c) {
    Plan plan = read_plan(c);
    int finite = 1;
    if (plan.n >= 0 && !c->schedule[0]) { /* rows in no tile are empty */
        long rows = c->batch * c->heads * c->q_len;
        memset(c->out_to, 0, sizeof(real) * rows * c->v_dim);
        for (long i = 0; i < rows; i++) c->lse_to[i] = -INFINITY;
    }
#pragma omp parallel num_threads(c->threads) if (plan.n > 1)
    {
        Scratch s = make_scratch(c, 0);
#pragma omp for schedule(dynamic, 1) reduction(&& : finite)
        for (long i = 0; i < plan.n; i++) finite = run_unit(c, plan.units + i, NULL, NULL, &s) && finite;
        free(s.all);
    }
    free_plan(plan);
    return plan.n < 0 ? MISFIT : finite ? FINITE : NOT_FINITE;
}

/* Writes d_q (B, Hq, Q, D), and adds to d_k (parts, B, Hkv, K, D) and d_v, all contiguous. Returns MISFIT or FINITE.
   The units of a lane are dealt to `parts` jobs, each with its own buffer for the gradients of keys: no two threads
   write to one number, and sums do not depend on which thread is first. */
int maskwork_backward(const Call *c) {
    Plan plan = read_plan(c);
    long lanes = c->batch * c->kv_heads, parts = c->parts;
    int64_t *first = calloc(lanes + 1, sizeof(int64_t)); /* index of each lane's first unit */
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
    return plan.n < 0 ? MISFIT : FINITE;
}
