// Skeletons of plugins in C: the same examples as in C++.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tools/plugin_skeleton.h"

namespace graphrun::cli {
namespace {

constexpr char kOp[] = R"text(/* y = x sigmoid(scale x) */
struct rows {
  const void* x;
  void* y;
  int32_t dtype;
  double scale;
};

static void part(void* argument, int64_t begin, int64_t end) {
  const struct rows* r = argument;
  int64_t i;
  if (r->dtype == GR_FLOAT64) {
    const double* x = r->x;
    double* y = r->y;
    for (i = begin; i < end; ++i) y[i] = x[i] / (1 + exp(-r->scale * x[i]));
  } else {
    const float *x = r->x, scale = (float)r->scale;
    float* y = r->y;
    for (i = begin; i < end; ++i) y[i] = x[i] / (1 + expf(-scale * x[i]));
  }
}

/* What runs need to know of the node; `run` gets it as `state`. */
static gr_status* prepare(void* self, const gr_node* node, gr_prepare* context, void** state) {
  double* scale = malloc(sizeof(double));
  (void)self, (void)context;
  if (scale == NULL) return host->error(GR_RESOURCE_EXHAUSTED, "@name@: out of memory");
  *scale = host->node->attr_float(node, "scale", 1);
  *state = scale;
  return NULL;
}

static void destroy(void* self, void* state) {
  (void)self;
  free(state);
}

static gr_status* run(void* self, const void* state, gr_run* context) {
  const gr_tensor* x = host->kernel->input(context, 0);
  struct rows rows;
  (void)self;
  rows.x = x->data;
  rows.y = host->kernel->output(context, 0)->data;
  rows.dtype = x->dtype;
  rows.scale = *(const double*)state;
  host->kernel->parallel_for(x->num_elements, 4096, part, &rows);
  return NULL;
}

/* With s = sigmoid(scale x): dx = dy (s + scale x s (1 - s)). */
static gr_status* gradient(void* self, const gr_node* node, gr_gradient* g) {
  const char* const names[] = {"x", "dy", "scale", "s"};
  gr_builder* b = host->gradient->builder(g);
  gr_expr values[4];
  (void)self;
  values[0] = host->gradient->x(g, 0);
  values[1] = host->gradient->dy(g, 0);
  values[2] = host->expr->number(b, host->node->attr_float(node, "scale", 1), values[0]);
  values[3] = host->expr->sigmoid(b, host->expr->mul(b, values[2], values[0]));
  host->gradient->set_dx(
      g, 0, host->expr->formula(b, "dy * (s + scale * x * s * (1 - s))", names, values, 4));
  return NULL;
}

/* The same by operators of ONNX: what other runtimes get, and a second check. */
static gr_status* body(void* self, const gr_node* node, gr_builder* b, const gr_expr* inputs,
                       gr_expr* outputs) {
  const gr_expr scale = host->expr->number(b, host->node->attr_float(node, "scale", 1), inputs[0]);
  (void)self;
  outputs[0] = host->expr->mul(
      b, inputs[0], host->expr->sigmoid(b, host->expr->mul(b, scale, inputs[0])));
  return NULL;
}

static const int32_t kFloats[] = {GR_FLOAT32, GR_FLOAT64};
static const gr_type kTypes[] = {
    {.struct_size = sizeof(gr_type), .variable = "T", .dtypes = kFloats, .num_dtypes = 2}};
static const gr_argument kInputs[] = {
    {.struct_size = sizeof(gr_argument), .name = "x", .type = "T"}};
static const gr_argument kOutputs[] = {
    {.struct_size = sizeof(gr_argument), .name = "y", .type = "T"}};
static const gr_attr kOne = {
    .struct_size = sizeof(gr_attr), .name = "scale", .kind = GR_ATTR_FLOAT, .f = 1};
static const gr_attr kTwo = {
    .struct_size = sizeof(gr_attr), .name = "scale", .kind = GR_ATTR_FLOAT, .f = 2};
static const gr_attr_spec kAttributes[] = {{.struct_size = sizeof(gr_attr_spec),
                                            .name = "scale",
                                            .kind = GR_ATTR_FLOAT,
                                            .fallback = &kOne}};
static const gr_kernel kKernels[] = {{.struct_size = sizeof(gr_kernel),
                                      .name = "native",
                                      .dtypes = kFloats,
                                      .num_dtypes = 2,
                                      .prepare = prepare,
                                      .run = run,
                                      .destroy = destroy}};
static const int64_t kMatrix[] = {3, 4}, kVector[] = {5}, kNone[] = {2, 0};
#define INPUT(size_of_it, sizes) \
  {.struct_size = sizeof(gr_sample_input), .rank = size_of_it, .dims = sizes}
static const gr_sample_input kDrawn[] = {INPUT(2, kMatrix), INPUT(1, kVector), INPUT(2, kNone)};
static const gr_sample kSamples[] = {
    {.struct_size = sizeof(gr_sample), .inputs = &kDrawn[0], .num_inputs = 1},
    {.struct_size = sizeof(gr_sample),
     .inputs = &kDrawn[1],
     .num_inputs = 1,
     .attrs = &kTwo,
     .num_attrs = 1},
    {.struct_size = sizeof(gr_sample), .inputs = &kDrawn[2], .num_inputs = 1}};
static const gr_in_place kInPlace[] = {{0, 0}};
static const gr_operator kParts[] = {{.struct_size = sizeof(gr_operator),
                                      .domain = "example.@name@",
                                      .name = "@Name@",
                                      .since_version = 1,
                                      .inputs = kInputs,
                                      .num_inputs = 1,
                                      .outputs = kOutputs,
                                      .num_outputs = 1,
                                      .types = kTypes,
                                      .num_types = 1,
                                      .attrs = kAttributes,
                                      .num_attrs = 1,
                                      .infer_rule = GR_INFER_SAME_AS_INPUT,
                                      .kernels = kKernels,
                                      .num_kernels = 1,
                                      .gradient = gradient,
                                      .body = body,
                                      .in_place = kInPlace,
                                      .num_in_place = 1,
                                      .samples = kSamples,
                                      .num_samples = 3}};
)text";

constexpr char kOptimizer[] = R"text(/* v' = beta v + g, w' = w - lr v' */
static gr_status* update(void* self, const double* params, gr_builder* b, const gr_update* in,
                         gr_expr* parameter, gr_expr* slots) {
  const char* const names[] = {"w", "g", "v", "lr", "beta"};
  gr_expr values[5];
  (void)self;
  values[0] = in->parameter;
  values[1] = in->gradient;
  values[2] = in->slots[0];
  values[3] = in->lr;
  values[4] = host->expr->number(b, params[0], in->parameter);
  values[2] = slots[0] = host->expr->formula(b, "beta * v + g", names, values, 5);
  *parameter = host->expr->formula(b, "w - lr * v", names, values, 5);
  return NULL;
}

static const gr_parameter kNumbers[] = {
    {sizeof(gr_parameter), "beta", 0.9, 0, 0.999999, "decay of the velocity"}};
static const gr_slot kSlots[] = {{sizeof(gr_slot), "velocity", 0, 0}};
static const gr_optimizer kParts[] = {{.struct_size = sizeof(gr_optimizer),
                                       .name = "@name@",
                                       .params = kNumbers,
                                       .num_params = 1,
                                       .default_lr = 0.01,
                                       .slots = kSlots,
                                       .num_slots = 1,
                                       .emit = update}};
)text";

constexpr char kRegularizer[] = R"text(/* strength/2 |w|^2, and its gradient */
static gr_status* gradient(void* self, const double* params, gr_builder* b, gr_expr w,
                           int32_t unit_axis, gr_expr* out) {
  (void)self, (void)unit_axis;
  *out = host->expr->mul(b, host->expr->number(b, params[0], w), w);
  return NULL;
}

static gr_status* penalty(void* self, const double* params, gr_builder* b, gr_expr w,
                          int32_t unit_axis, gr_expr* out) {
  (void)self, (void)unit_axis;
  *out = host->expr->mul(b, host->expr->number(b, params[0] / 2, w),
                         host->expr->reduce_sum(b, host->expr->square(b, w), NULL, 0, 0));
  return NULL;
}

static const gr_parameter kNumbers[] = {
    {sizeof(gr_parameter), "strength", 0.0001, 0, 1e30, "of the penalty"}};
static const gr_regularizer kParts[] = {{.struct_size = sizeof(gr_regularizer),
                                         .name = "@name@",
                                         .params = kNumbers,
                                         .num_params = 1,
                                         .gradient = gradient,
                                         .penalty = penalty}};
)text";

constexpr char kDataset[] = R"text(/* Two spirals; the file holds how many points. */
struct spirals {
  gr_rows rows; /* what the host sees */
  gr_field fields[2];
  float* points;
  int64_t* labels;
};

static const int64_t kPoint[] = {2};

static void close_rows(void* self, const gr_rows* rows) {
  struct spirals* s = rows->state;
  (void)self;
  free(s->points);
  free(s->labels);
  free(s);
}

static gr_status* open_rows(void* self, const gr_dataset_request* request, const gr_rows** rows) {
  FILE* file = fopen(request->path, "r");
  struct spirals* s;
  long count = 0, i;
  (void)self;
  if (file == NULL) return host->error(GR_NOT_FOUND, "the file cannot be opened");
  if (fscanf(file, "%ld", &count) != 1) count = 0;
  fclose(file);
  if (count < 1 || count > 10000000)
    return host->error(GR_INVALID_ARGUMENT, "must hold the number of points, from 1 to 10000000");
  s = calloc(1, sizeof(*s));
  if (s == NULL) return host->error(GR_RESOURCE_EXHAUSTED, "@name@: out of memory");
  s->points = malloc((size_t)count * 2 * sizeof(float));
  s->labels = malloc((size_t)count * sizeof(int64_t));
  s->rows.state = s;
  if (s->points == NULL || s->labels == NULL) {
    close_rows(NULL, &s->rows);
    return host->error(GR_RESOURCE_EXHAUSTED, "@name@: out of memory");
  }
  for (i = 0; i < count; ++i) {
    const double t = 0.25 + 3 * (double)(i / 2) / (double)count;
    const double angle = 4 * t + (i % 2 == 0 ? 0 : 3.14159265358979);
    s->points[2 * i] = (float)(t * cos(angle));
    s->points[2 * i + 1] = (float)(t * sin(angle));
    s->labels[i] = i % 2;
  }
  s->fields[0].struct_size = s->fields[1].struct_size = sizeof(gr_field);
  s->fields[0].name = "point";
  s->fields[0].dtype = GR_FLOAT32;
  s->fields[0].rank = 1;
  s->fields[0].dims = kPoint;
  s->fields[0].rows = s->points;
  s->fields[1].name = "spiral";
  s->fields[1].dtype = GR_INT64;
  s->fields[1].role = GR_TARGET;
  s->fields[1].rows = s->labels;
  s->rows.struct_size = sizeof(gr_rows);
  s->rows.fields = s->fields;
  s->rows.num_fields = 2;
  s->rows.num_rows = count;
  *rows = &s->rows;
  return NULL;
}

static const gr_dataset kParts[] = {{.struct_size = sizeof(gr_dataset),
                                     .name = "@name@",
                                     .doc = "two spirals; the file holds how many points",
                                     .suffixes = ".@name@",
                                     .open = open_rows,
                                     .close = close_rows}};
)text";

constexpr char kTransform[] = R"text(/* Adds one number of [-amount, amount] to a sample. */
static gr_status* apply(void* self, const double* params, gr_random* random, double range,
                        int32_t rank, const int64_t* dims, const float* input, float* output) {
  const double shift = params[0] * range * (2 * host->random->uniform(random) - 1);
  int64_t count = 1, i;
  (void)self;
  for (i = 0; i < rank; ++i) count *= dims[i];
  for (i = 0; i < count; ++i) output[i] = input[i] + (float)shift;
  return NULL;
}

static const gr_parameter kNumbers[] = {
    {sizeof(gr_parameter), "amount", 0.1, 0, 1e6, "how far"}};
static const gr_transform kParts[] = {{.struct_size = sizeof(gr_transform),
                                       .name = "@name@",
                                       .params = kNumbers,
                                       .num_params = 1,
                                       .apply = apply}};
)text";

constexpr char kSource[] = R"text(HEADERS
#include <graphrun_plugin.h>

static const gr_host* host;

DECLARATION
static const gr_plugin kPlugin = {.struct_size = sizeof(gr_plugin),
                                  .name = "@name@",
                                  .version = "0.1.0",
                                  .doc = "what this plugin is for",
                                  .LIST = kParts,
                                  .num_LIST = sizeof(kParts) / sizeof(kParts[0])};

static gr_status* init(const gr_host* h, const gr_plugin** plugin) {
  host = h;
  *plugin = &kPlugin;
  return NULL;
}
GR_PLUGIN(init);
)text";

struct Kind {
  absl::string_view name, list, headers, declaration;
};
constexpr Kind kKinds[] = {
    {"op", "operators", "#include <math.h>\n#include <stdlib.h>\n", kOp},
    {"optimizer", "optimizers", "", kOptimizer},
    {"regularizer", "regularizers", "", kRegularizer},
    {"dataset", "datasets", "#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n",
     kDataset},
    {"transform", "transforms", "", kTransform},
};

}  // namespace

std::string SkeletonInC(absl::string_view kind) {
  for (const Kind& k : kKinds) {
    if (k.name != kind) continue;
    return absl::StrReplaceAll(
        kSource, {{"HEADERS\n", k.headers.empty() ? std::string() : absl::StrCat(k.headers, "\n")},
                  {"DECLARATION", k.declaration},
                  {"LIST", k.list}});
  }
  return "";
}

}  // namespace graphrun::cli
