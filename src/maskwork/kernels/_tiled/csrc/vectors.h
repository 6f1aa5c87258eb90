/* Vectors, 2^x, and the inner tile of every matrix product. The vectors are extensions of GCC and Clang, so that one
   source serves every processor; -DDOUBLE chooses the precision at compile time. */

#pragma once

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

/* BYTES: size of a vector. MR: rows of a product's inner tile; its accumulators, MR x 2 vectors, fill the registers. */
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
#define BLOCK 96 /* keys in a block, a multiple of MR and of NR */
#define PANELS (BLOCK / NR)
#define MOST_ROWS 192 /* rows, over all heads, that share one pass over the keys */
#define SEGMENT_ROWS 192
#define FEW_ROWS 8 /* up to so many rows read keys in place, without packed copies */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef real vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef whole ints __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p) { return *(const vec *)p; }
INLINE void store(real *p, vec x) { *(vec *)p = x; }
INLINE vec fill(real x) { return x - (vec){0}; }
INLINE vec pick(ints yes, vec a, vec b) { return (vec)((yes & (ints)a) | (~yes & (ints)b)); }
INLINE vec larger(vec a, vec b) { /* the larger number of each pair; b where either is NaN */
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

/* The sum and the maximum of a vector, by halves: one number after the other would wait for VL sums in turn. */
INLINE real sum_of(vec x) {
#if defined(__AVX512F__)
    return DOUBLE ? (real)_mm512_reduce_add_pd((__m512d)x) : (real)_mm512_reduce_add_ps((__m512)x);
#else
    real a[VL];
    store(a, x);
    UNROLL for (int half = VL / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
#endif
}

INLINE real max_of(vec x) { /* of numbers; a NaN may be lost */
#if defined(__AVX512F__)
    return DOUBLE ? (real)_mm512_reduce_max_pd((__m512d)x) : (real)_mm512_reduce_max_ps((__m512)x);
#else
    real a[VL];
    store(a, x);
    UNROLL for (int half = VL / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) a[i] = a[i + half] > a[i] ? a[i + half] : a[i];
    return a[0];
#endif
}

#if defined(__AVX512F__) || (defined(__AVX__) && !defined(__clang__) && !DOUBLE)
#define TRANSPOSES 1

/* Transposes VL x VL numbers. */
INLINE void transpose(vec a[VL]) {
    vec b[VL];
#if defined(__AVX512F__)
    /* A step deals vectors i and i + VL / 2 alternately into two: the highest bit of a vector's number becomes the lowest
       bit of a number's place. After log2(VL) steps, the two have changed roles. */
    ints low, high;
    UNROLL for (int i = 0; i < VL; i++) low[i] = i / 2 + i % 2 * VL, high[i] = low[i] + VL / 2;
    UNROLL for (int step = 1; step < VL; step *= 2) {
        UNROLL for (int i = 0; i < VL / 2; i++) {
#if DOUBLE
            __m512d x = (__m512d)a[i], y = (__m512d)a[i + VL / 2];
            b[2 * i] = (vec)_mm512_permutex2var_pd(x, (__m512i)low, y);
            b[2 * i + 1] = (vec)_mm512_permutex2var_pd(x, (__m512i)high, y);
#else
            __m512 x = (__m512)a[i], y = (__m512)a[i + VL / 2];
            b[2 * i] = (vec)_mm512_permutex2var_ps(x, (__m512i)low, y);
            b[2 * i + 1] = (vec)_mm512_permutex2var_ps(x, (__m512i)high, y);
#endif
        }
        UNROLL for (int i = 0; i < VL; i++) a[i] = b[i];
    }
#else
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
        b[i] = __builtin_shuffle(a[i], a[4 + i], left);
        b[4 + i] = __builtin_shuffle(a[i], a[4 + i], right);
    }
    UNROLL for (int i = 0; i < VL; i++) a[i] = b[i];
#endif
}
#endif

/* Returns 2^x for x <= 0, to about one unit in the last place; 0 where 2^x is too small for a normal number; NaN for
   NaN. x = n + f with an integer n: 2^n is written into the exponent's bits, 2^f is a Taylor series. */
INLINE vec exp2_of(vec x) {
    static const double series[] = {
        1.0, 0.6931471805599453, 0.2402265069591007, 0.055504108664821576, 0.009618129107628477,
        0.0013333558146428441, 0.00015403530393381606, 1.5252733804059838e-05, 1.3215486790144305e-06,
        1.0178086009239696e-07, 7.054911620801121e-09, 4.44553827187081e-10,
        2.5678435993488196e-11, 1.3691488853904124e-12};
    const real lowest = DOUBLE ? -1023 : -127, big = DOUBLE ? 6755399441055744.0 : 12582912.0; /* 1.5 * 2^52, 2^23 */
    vec y = larger(fill(lowest), x), shifted = y + big; /* the last bits of `shifted` are n */
    vec f = y - (shifted - big);
    const int degree = DOUBLE ? 13 : 7;
    vec p = fill(series[degree]);
    UNROLL for (int i = degree - 1; i >= 0; i--) p = p * f + (real)series[i];
    return p * (vec)((ints)(shifted + -lowest) << (DOUBLE ? 52 : 23)); /* the bits of 2^n; of 0 at `lowest` */
}

/* C = A B, or with `add` C += A B, for C (MR x NR), A (MR x k) and B (k x NR). A(i, j): a[i * by_row + j * by_col]. */
INLINE void product(
    long k, const real *a, long by_row, long by_col, const real *b, long ldb, real *c, long ldc, int add) {
    vec acc[MR][2] = {0}; /* from 0 even with `add`: a sum of partial sums has a smaller error */
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

/* The product of one half of a panel, VL columns, and zeros in the other. */
static void product_half(long k, const real *a, const real *b, long half, real *c, long ldc) {
    vec acc[MR] = {0};
    for (long j = 0; j < k; j++, a += MR, b += NR) {
        vec b0 = load(b + half * VL);
        UNROLL for (int i = 0; i < MR; i++) acc[i] += a[i] * b0;
    }
    UNROLL for (int i = 0; i < MR; i++) {
        store(c + i * ldc + half * VL, acc[i]);
        store(c + i * ldc + VL - half * VL, (vec){0});
    }
}

static void product_rows(long k, const real *a, long lda, const real *b, long ldb, real *c, long ldc) {
    product(k, a, lda, 1, b, ldb, c, ldc, 1);
}

static void product_columns(long k, const real *a, long lda, const real *b, long ldb, real *c, long ldc) {
    product(k, a, 1, lda, b, ldb, c, ldc, 1);
}

INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long most(long a, long b) { return a > b ? a : b; }
INLINE long up(long x, long unit) { return (x + unit - 1) / unit * unit; }
