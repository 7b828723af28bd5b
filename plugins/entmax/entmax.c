/* Entmax15: a softmax that gives exact zeros, y = max(x/2 - tau, 0)^2 with the tau for which each
 * row sums to 1. Along the last axis. Peters, Niculae, Martins (arXiv:1905.05702), algorithm 2. */
#include <math.h>
#include <stdlib.h>

#include "graphrun_plugin.h"

static const gr_host* host;

static gr_status* infer(void* self, const gr_node* node, gr_infer* context) {
  const gr_node_api* n = host->node;
  gr_dim dims[GR_MAX_RANK];
  const int32_t rank = n->input_rank(node, 0), dtype = n->input_dtype(node, 0);
  (void)self;
  if (rank == 0 || rank > GR_MAX_RANK) {
    return host->error(GR_INVALID_ARGUMENT,
                       "Entmax15: x needs an axis to run along, and at most 8");
  }
  for (int32_t a = 0; a < rank; ++a) dims[a] = n->input_dim(node, 0, a);
  return host->infer->set_output(context, 0, dtype, rank, dims);
}

/* Rows of one element type. The row of y holds the sorted values first, then the result. */
#define DEFINE_ROWS(T, name)                                                     \
  static int name##_descending(const void* a, const void* b) {                   \
    const T x = *(const T*)a, y = *(const T*)b;                                  \
    return (x < y) - (x > y);                                                    \
  }                                                                              \
  static void name##_row(const T* x, T* y, int64_t size) {                       \
    T max = x[0];                                                                \
    double sum = 0, squares = 0, tau = 0;                                        \
    for (int64_t i = 1; i < size; ++i) max = x[i] > max ? x[i] : max;            \
    for (int64_t i = 0; i < size; ++i) y[i] = (x[i] - max) / 2;                  \
    qsort(y, (size_t)size, sizeof(T), name##_descending);                        \
    for (int64_t k = 0; k < size; ++k) {                                         \
      const double count = (double)(k + 1);                                      \
      sum += (double)y[k];                                                       \
      squares += (double)y[k] * (double)y[k];                                    \
      const double mean = sum / count, spread = squares - count * mean * mean;   \
      const double rest = (1 - spread) / count;                                  \
      const double next = mean - sqrt(rest > 0 ? rest : 0);                      \
      if (!(next <= (double)y[k])) break;                                        \
      tau = next;                                                                \
    }                                                                            \
    for (int64_t i = 0; i < size; ++i) {                                         \
      const double above = ((double)x[i] - (double)max) / 2 - tau;               \
      y[i] = (T)(above > 0 ? above * above : above <= 0 ? 0 : above);            \
    }                                                                            \
  }                                                                              \
  static void name##_rows(void* argument, int64_t begin, int64_t end) {          \
    const struct task* t = argument;                                             \
    for (int64_t r = begin; r < end; ++r) {                                      \
      name##_row((const T*)t->x + r * t->size, (T*)t->y + r * t->size, t->size); \
    }                                                                            \
  }

struct task {
  const void* x;
  void* y;
  int64_t size;
};
DEFINE_ROWS(float, float32)
DEFINE_ROWS(double, float64)

static gr_status* run(void* self, const void* state, gr_run* context) {
  const gr_tensor* x = host->kernel->input(context, 0);
  struct task task;
  (void)self;
  (void)state;
  task.x = x->data;
  task.y = host->kernel->output(context, 0)->data;
  task.size = x->dims[x->rank - 1];
  if (x->num_elements == 0) return NULL;
  host->kernel->parallel_for(x->num_elements / task.size, 1024 / task.size + 1,
                             x->dtype == GR_FLOAT32 ? float32_rows : float64_rows, &task);
  return NULL;
}

/* With s = sqrt(y): dx = s dy - s sum(s dy) / sum(s). Reads y. */
static gr_status* gradient(void* self, const gr_node* node, gr_gradient* g) {
  gr_builder* b = host->gradient->builder(g);
  const gr_expr_api* e = host->expr;
  const int64_t last[] = {-1};
  gr_expr s = e->sqrt(b, host->gradient->y(g, 0));
  gr_expr s_dy = e->mul(b, s, host->gradient->dy(g, 0));
  gr_expr share = e->div(b, e->reduce_sum(b, s_dy, last, 1, 1), e->reduce_sum(b, s, last, 1, 1));
  (void)self;
  (void)node;
  host->gradient->set_dx(g, 0, e->sub(b, s_dy, e->mul(b, s, share)));
  return NULL;
}

static gr_expr op2(gr_builder* b, const char* name, gr_expr a0, gr_expr a1, const gr_attr* attr) {
  gr_expr inputs[2];
  inputs[0] = a0;
  inputs[1] = a1;
  return host->expr->op(b, NULL, name, inputs, 2, attr, attr != NULL ? 1 : 0);
}

/* The algorithm by standard operators. */
static gr_status* body(void* self, const gr_node* node, gr_builder* b, const gr_expr* inputs,
                       gr_expr* outputs) {
  const gr_expr_api* e = host->expr;
  const gr_attr axis = {
      .struct_size = sizeof(gr_attr), .name = "axis", .kind = GR_ATTR_INT, .i = -1};
  const int64_t last[] = {-1}, first[] = {0};
  const gr_expr x = inputs[0];
  const int32_t rank = e->rank(b, x);
  gr_expr sorted[2], range[3], top[2];
  gr_status* status;
  (void)self;
  (void)node;
  if (rank < 1) return host->error(GR_INVALID_ARGUMENT, "Entmax15: the rank of x must be known");
  gr_expr z = e->mul(b, e->sub(b, x, e->reduce_max(b, x, last, 1, 1)), e->number(b, 0.5, x));
  gr_expr n = e->dim_of(b, x, rank - 1), one = e->scalar(b, GR_INT64, 1);
  top[0] = z;
  top[1] = n;
  status = e->ops(b, NULL, "TopK", top, 2, NULL, 0, sorted, 2);
  if (status != NULL) return status;
  range[0] = one;
  range[1] = e->add(b, e->squeeze(b, n, first, 1), one);
  range[2] = one;
  gr_expr count = e->cast_like(b, e->op(b, NULL, "Range", range, 3, NULL, 0), x);
  gr_expr along = e->scalar(b, GR_INT64, -1);
  gr_expr mean = e->div(b, op2(b, "CumSum", sorted[0], along, NULL), count);
  gr_expr squares = op2(b, "CumSum", e->square(b, sorted[0]), along, NULL);
  gr_expr spread = e->sub(b, squares, e->mul(b, count, e->square(b, mean)));
  gr_expr rest = e->div(b, e->sub(b, e->number(b, 1, x), spread), count);
  gr_expr tau = e->sub(b, mean, e->sqrt(b, e->max(b, rest, e->number(b, 0, x))));
  gr_expr inside = e->cast(b, e->less_equal(b, tau, sorted[0]), GR_INT64);
  gr_expr place = e->sub(b, e->reduce_sum(b, inside, last, 1, 1), one);
  gr_expr chosen = op2(b, "GatherElements", tau, place, &axis);
  outputs[0] = e->square(b, e->max(b, e->sub(b, z, chosen), e->number(b, 0, x)));
  return NULL;
}

static const gr_argument kInput = {.struct_size = sizeof(gr_argument), .name = "x", .type = "T"};
static const gr_argument kOutput = {.struct_size = sizeof(gr_argument), .name = "y", .type = "T"};
static const int32_t kFloats[] = {GR_FLOAT32, GR_FLOAT64};
static const gr_type kTypes[] = {{sizeof(gr_type), "T", kFloats, 2}};
static const gr_kernel kKernels[] = {{
    .struct_size = sizeof(gr_kernel),
    .name = "native",
    .dtypes = kFloats,
    .num_dtypes = 2,
    .run = run,
}};

static const int64_t kMatrix[] = {4, 7}, kCube[] = {2, 3, 5}, kSingle[] = {3, 1}, kEmpty[] = {0, 4};
#define NORMAL(rank_, dims_) \
  { .struct_size = sizeof(gr_sample_input), .fill = GR_FILL_NORMAL, .rank = rank_, .dims = dims_ }
static const gr_sample_input kOfMatrix[] = {NORMAL(2, kMatrix)}, kOfCube[] = {NORMAL(3, kCube)};
static const gr_sample_input kOfSingle[] = {NORMAL(2, kSingle)}, kOfEmpty[] = {NORMAL(2, kEmpty)};
static const gr_sample_input kOfScalar[] = {NORMAL(0, NULL)};
#define SAMPLE(inputs_) .struct_size = sizeof(gr_sample), .inputs = inputs_, .num_inputs = 1
static const gr_sample kSamples[] = {
    {SAMPLE(kOfMatrix)},
    {SAMPLE(kOfCube)},
    {SAMPLE(kOfSingle)},
    {SAMPLE(kOfEmpty)},
    {SAMPLE(kOfScalar), .refused = "needs an axis"},
};

static const gr_operator kOperators[] = {{
    .struct_size = sizeof(gr_operator),
    .domain = "graphrun.entmax",
    .name = "Entmax15",
    .since_version = 1,
    .doc = "a softmax with exact zeros, along the last axis",
    .inputs = &kInput,
    .num_inputs = 1,
    .outputs = &kOutput,
    .num_outputs = 1,
    .types = kTypes,
    .num_types = 1,
    .infer = infer,
    .kernels = kKernels,
    .num_kernels = 1,
    .gradient = gradient,
    .body = body,
    .samples = kSamples,
    .num_samples = sizeof(kSamples) / sizeof(kSamples[0]),
}};

static const gr_plugin kPlugin = {
    .struct_size = sizeof(gr_plugin),
    .name = "entmax",
    .version = "1.0.0",
    .doc = "sparse alternatives to softmax",
    .operators = kOperators,
    .num_operators = 1,
};

static gr_status* init(const gr_host* h, const gr_plugin** plugin) {
  host = h;
  *plugin = &kPlugin;
  return NULL;
}
GR_PLUGIN(init);
