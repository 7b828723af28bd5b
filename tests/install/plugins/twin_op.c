/* A plugin from the header alone: LeakyRelu once more, with its gradient. */
#include <graphrun_plugin.h>

static const gr_host* host;

struct rows {
  const float* x;
  float* y;
  float alpha;
};

static void part(void* argument, int64_t begin, int64_t end) {
  const struct rows* r = argument;
  for (int64_t i = begin; i < end; ++i) r->y[i] = r->x[i] >= 0 ? r->x[i] : r->alpha * r->x[i];
}

static gr_status* prepare(void* self, const gr_node* node, gr_prepare* context, void** state) {
  static float alphas[16]; /* kernels of this test differ in nothing else */
  static int used;
  (void)self;
  (void)context;
  alphas[used % 16] = (float)host->node->attr_float(node, "alpha", 0.01);
  *state = &alphas[used++ % 16];
  return NULL;
}

static gr_status* run(void* self, const void* state, gr_run* context) {
  const gr_tensor* x = host->kernel->input(context, 0);
  struct rows rows;
  (void)self;
  rows.x = x->data;
  rows.y = host->kernel->output(context, 0)->data;
  rows.alpha = *(const float*)state;
  host->kernel->parallel_for(x->num_elements, 4096, part, &rows);
  return NULL;
}

/* dx = dy where x > 0, else alpha dy */
static gr_status* gradient(void* self, const gr_node* node, gr_gradient* g) {
  const gr_expr_api* e = host->expr;
  gr_builder* b = host->gradient->builder(g);
  gr_expr x = host->gradient->x(g, 0), dy = host->gradient->dy(g, 0);
  gr_expr alpha = e->number(b, host->node->attr_float(node, "alpha", 0.01), x);
  (void)self;
  host->gradient->set_dx(
      g, 0, e->where(b, e->greater(b, x, e->number(b, 0, x)), dy, e->mul(b, dy, alpha)));
  return NULL;
}

static gr_status* body(void* self, const gr_node* node, gr_builder* b, const gr_expr* inputs,
                       gr_expr* outputs) {
  gr_attr alpha = {.struct_size = sizeof(gr_attr), .name = "alpha", .kind = GR_ATTR_FLOAT};
  (void)self;
  alpha.f = host->node->attr_float(node, "alpha", 0.01);
  outputs[0] = host->expr->op(b, NULL, "LeakyRelu", inputs, 1, &alpha, 1);
  return NULL;
}

static const int32_t kFloat[] = {GR_FLOAT32}, kFloats[] = {GR_FLOAT32, GR_FLOAT64};
static const gr_type kTypes[] = {{sizeof(gr_type), "T", kFloats, 2}};
static const gr_argument kX = {.struct_size = sizeof(gr_argument), .name = "x", .type = "T"};
static const gr_argument kY = {.struct_size = sizeof(gr_argument), .name = "y", .type = "T"};
static const gr_attr kAlpha = {
    .struct_size = sizeof(gr_attr), .name = "alpha", .kind = GR_ATTR_FLOAT, .f = 0.01};
static const gr_attr_spec kAttrs[] = {{.struct_size = sizeof(gr_attr_spec),
                                       .name = "alpha",
                                       .kind = GR_ATTR_FLOAT,
                                       .fallback = &kAlpha}};
static const gr_kernel kKernels[] = {{.struct_size = sizeof(gr_kernel),
                                      .name = "plain",
                                      .dtypes = kFloat,
                                      .num_dtypes = 1,
                                      .prepare = prepare,
                                      .run = run}};
static const int64_t kDims[] = {3, 4};
static const gr_sample_input kInput[] = {{.struct_size = sizeof(gr_sample_input),
                                          .fill = GR_FILL_UNIFORM,
                                          .rank = 2,
                                          .dims = kDims,
                                          .low = 0.5,
                                          .high = 2}};
static const gr_sample kSamples[] = {
    {.struct_size = sizeof(gr_sample), .inputs = kInput, .num_inputs = 1}};
static const gr_in_place kInPlace[] = {{0, 0}};
static const gr_operator kOperators[] = {{.struct_size = sizeof(gr_operator),
                                          .domain = "twin",
                                          .name = "Leaky",
                                          .since_version = 1,
                                          .inputs = &kX,
                                          .num_inputs = 1,
                                          .outputs = &kY,
                                          .num_outputs = 1,
                                          .types = kTypes,
                                          .num_types = 1,
                                          .attrs = kAttrs,
                                          .num_attrs = 1,
                                          .infer_rule = GR_INFER_SAME_AS_INPUT,
                                          .kernels = kKernels,
                                          .num_kernels = 1,
                                          .gradient = gradient,
                                          .body = body,
                                          .in_place = kInPlace,
                                          .num_in_place = 1,
                                          .samples = kSamples,
                                          .num_samples = 1}};
static const gr_plugin kPlugin = {.struct_size = sizeof(gr_plugin),
                                  .name = "twin_op",
                                  .version = "1.0.0",
                                  .doc = "a twin of LeakyRelu",
                                  .operators = kOperators,
                                  .num_operators = 1};

static gr_status* init(const gr_host* h, const gr_plugin** plugin) {
  host = h;
  *plugin = &kPlugin;
  return NULL;
}
GR_PLUGIN(init);
