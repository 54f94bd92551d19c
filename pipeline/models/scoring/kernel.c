/* The two families' arithmetic over a block of features, for pipeline/models/scoring/kernel.py.
 *
 * `trees.py` and `linear.py` say what the arrays mean, check them before they come here, and compute
 * the same bits in NumPy. So: no -ffast-math, no contraction to fused operations (build_kernel.py),
 * and sums in the order in which they are written. A block is (features, rows) float32; `scores` is
 * (2, rows): raw scores, then satisfactions.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 512      /* scored at once: their codes stay in the processor's cache */
#define FEW_ROWS 32   /* up to here a walk through the trees is faster than a block */
#define WIDTH 256     /* thresholds of a feature, padded with infinity */

#if defined(__x86_64__) && defined(__gnu_linux__)
#define FOR_ALL_PROCESSORS __attribute__((target_clones("avx2", "default")))
#else
#define FOR_ALL_PROCESSORS
#endif
#define INLINE static inline __attribute__((always_inline))

typedef struct { double value; float threshold; int32_t feature, right, is_missing_left; } Node;
typedef struct { int32_t feature, missing; } Column;
typedef struct { uint8_t kind, left, right, slot; uint16_t column; int16_t code; } Step;
typedef struct {
    double baseline, slope, intercept;
    int64_t trees, columns, slots;
    const Node *nodes;
    const int32_t *first_node;
    const float *thresholds;
    const int32_t *counts;
    const Column *column;
    const Step *steps;
    const int32_t *first_step;
    const double *leaves;
    const int32_t *first_leaf;
} Trees;
typedef struct {
    double baseline, slope, intercept;
    int64_t features;
    const float *thresholds;
    const int32_t *counts;
    const double *pieces;
    const float *medians;
    const double *coefficients;
    const int32_t *first_category;
    const double *category_coefficients;
} Linear;

const char *source_digest(void) { return SOURCE_DIGEST; }

/* How many of a feature's `count` thresholds are below each number; none for NaN. */
INLINE void count_below(const float *x, int rows, const float *thresholds, int count, uint32_t *below) {
    memset(below, 0, sizeof(uint32_t) * ROWS);
    if (count <= 16) {
        for (int k = 0; k < count; k++)
            for (int i = 0; i < rows; i++) below[i] += thresholds[k] < x[i];
        return;
    }
    for (int k = 15; k < WIDTH - 1; k += 16)
        for (int i = 0; i < rows; i++) below[i] += thresholds[k] < x[i];
    for (int i = 0; i < rows; i++) {
        uint32_t q = below[i] * 16;
        q += (uint32_t)(thresholds[q + 7] < x[i]) * 8;
        q += (uint32_t)(thresholds[q + 3] < x[i]) * 4;
        q += (uint32_t)(thresholds[q + 1] < x[i]) * 2;
        q += (uint32_t)(thresholds[q] < x[i]);
        below[i] = q;
    }
}

/* One step of a tree for all rows of a block: where the code is above the step's, the right result. */
INLINE void take(const Step *step, const int8_t *restrict codes, uint8_t *restrict result,
                 const uint8_t *restrict other) {
    const int8_t code = (int8_t)step->code;
    const uint8_t left = step->left, right = step->right;
    if (step->kind == 0)
        for (int i = 0; i < ROWS; i++) result[i] = codes[i] > code ? right : left;
    else if (step->kind == 1)
        for (int i = 0; i < ROWS; i++) result[i] = codes[i] > code ? right : result[i];
    else if (step->kind == 2)
        for (int i = 0; i < ROWS; i++) result[i] = codes[i] > code ? result[i] : left;
    else
        for (int i = 0; i < ROWS; i++) {
            const uint8_t of_right = other[i], of_left = result[i];   /* read always, so that this is vectorised */
            result[i] = codes[i] > code ? of_right : of_left;
        }
}

INLINE void run(const Trees *m, int64_t tree, const int8_t *codes, uint8_t *stack) {
    for (const Step *step = m->steps + m->first_step[tree]; step < m->steps + m->first_step[tree + 1]; step++) {
        uint8_t *result = stack + (size_t)step->slot * ROWS;
        take(step, codes + (size_t)step->column * ROWS, result, result + ROWS);
    }
}

INLINE void score_block(const Trees *m, const float *block, int64_t stride, int rows, int8_t *codes, uint8_t *stack,
                        double *raw) {
    uint32_t below[ROWS];
    double sum[ROWS];
    for (int64_t c = 0; c < m->columns; c++) {
        const int32_t feature = m->column[c].feature;
        const int8_t missing = (int8_t)m->column[c].missing;
        const float *x = block + feature * stride;
        int8_t *code = codes + c * ROWS;
        if (c == 0 || feature != m->column[c - 1].feature)
            count_below(x, rows, m->thresholds + (size_t)feature * WIDTH, m->counts[feature], below);
        for (int i = 0; i < rows; i++) code[i] = x[i] == x[i] ? (int8_t)(below[i] - 128) : missing;
    }
    for (int i = 0; i < ROWS; i++) sum[i] = m->baseline;
    int64_t tree = 0;
    for (; tree + 4 <= m->trees; tree += 4) {   /* four at once: the sum is read and written once */
        const double *v0 = m->leaves + m->first_leaf[tree], *v1 = m->leaves + m->first_leaf[tree + 1];
        const double *v2 = m->leaves + m->first_leaf[tree + 2], *v3 = m->leaves + m->first_leaf[tree + 3];
        for (int k = 0; k < 4; k++) run(m, tree + k, codes, stack + k * ROWS);
        for (int i = 0; i < ROWS; i++) {
            const uint8_t *leaf = stack + i;
            sum[i] = (((sum[i] + v0[leaf[0]]) + v1[leaf[ROWS]]) + v2[leaf[2 * ROWS]]) + v3[leaf[3 * ROWS]];
        }
    }
    for (; tree < m->trees; tree++) {
        const double *v = m->leaves + m->first_leaf[tree];
        run(m, tree, codes, stack);
        for (int i = 0; i < ROWS; i++) sum[i] += v[stack[i]];
    }
    memcpy(raw, sum, sizeof(double) * rows);
}

static void walk(const Trees *m, const float *block, int64_t stride, int rows, double *raw) {
    for (int i = 0; i < rows; i++) {
        double sum = m->baseline;
        for (int64_t tree = 0; tree < m->trees; tree++) {
            const Node *tree_nodes = m->nodes, *node = tree_nodes + m->first_node[tree];
            while (node->feature >= 0) {
                const float x = block[node->feature * stride + i];
                const int left = x == x ? x <= node->threshold : node->is_missing_left;
                node = left ? node + 1 : tree_nodes + node->right;
            }
            sum += node->value;
        }
        raw[i] = sum;
    }
}

static void satisfactions(const double *raw, int64_t rows, double slope, double intercept, double *satisfaction) {
    for (int64_t i = 0; i < rows; i++) satisfaction[i] = 1.0 / (1.0 + exp(slope * raw[i] + intercept));
}

FOR_ALL_PROCESSORS int score_trees(const Trees *m, const float *block, int64_t rows, double *scores) {
    const int64_t codes = m->columns * ROWS, stack = (m->slots + 5) * ROWS;
    int8_t *memory = rows > FEW_ROWS ? calloc(codes + stack, 1) : NULL;
    if (rows > FEW_ROWS && memory == NULL) return 1;
    for (int64_t first = 0; first < rows; first += ROWS) {
        const int some = rows - first < ROWS ? (int)(rows - first) : ROWS;
        if (some <= FEW_ROWS)
            walk(m, block + first, rows, some, scores + first);
        else
            score_block(m, block + first, rows, some, memory, (uint8_t *)memory + codes, scores + first);
    }
    free(memory);
    satisfactions(scores, rows, m->slope, m->intercept, scores + rows);
    return 0;
}

FOR_ALL_PROCESSORS int score_linear(const Linear *m, const float *block, int64_t rows, double *scores) {
    uint32_t below[ROWS];
    float x[ROWS];
    for (int64_t first = 0; first < rows; first += ROWS) {
        const int some = rows - first < ROWS ? (int)(rows - first) : ROWS;
        double *raw = scores + first;
        for (int i = 0; i < some; i++) raw[i] = m->baseline;
        for (int64_t f = 0; f < m->features; f++) {
            const float *given = block + f * rows + first;
            const double coefficient = m->coefficients[f];
            if (m->first_category[f] >= 0) {
                const double *table = m->category_coefficients + m->first_category[f];
                for (int i = 0; i < some; i++) raw[i] += table[(int32_t)given[i] + 1];
                continue;
            }
            for (int i = 0; i < some; i++) x[i] = given[i] == given[i] ? given[i] : m->medians[f];
            count_below(x, some, m->thresholds + f * WIDTH, m->counts[f], below);
            for (int i = 0; i < some; i++) {
                const double *piece = m->pieces + (f * WIDTH + below[i]) * 3;
                raw[i] += coefficient * (double)(float)(piece[0] + piece[1] * ((double)x[i] - piece[2]));
            }
        }
    }
    satisfactions(scores, rows, m->slope, m->intercept, scores + rows);
    return 0;
}
