#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/graphrun_plugin.h"

/* A plugin in C that uses most of the interface: operators with kernel, gradient, body and body
 * text; an optimizer, a regularizer, a transform of batches, a dataset row by row, a pass. */

static const gr_host* host;
#define EXPR host->expr

/* Wave: y = sin(w x), with a kernel for float and one for double, and a gradient as a formula. */
static gr_status* infer_wave(void* self, const gr_node* n, gr_infer* c) {
  gr_dim dims[8];
  int32_t rank = host->node->input_rank(n, 0), i;
  (void)self;
  for (i = 0; i < rank && i < 8; ++i) dims[i] = host->node->input_dim(n, 0, i);
  return host->infer->set_output(c, 0, host->node->input_dtype(n, 0), rank, dims);
}
typedef struct wave {
  double w;
  int32_t dtype;
} wave;
static gr_status* prepare_wave(void* self, const gr_node* n, gr_prepare* p, void** state) {
  wave* s = malloc(sizeof(wave));
  (void)self, (void)p;
  if (s == NULL) return host->error(GR_RESOURCE_EXHAUSTED, "no memory");
  s->w = host->node->attr_float(n, "w", 1);
  s->dtype = host->node->input_dtype(n, 0);
  *state = s;
  return NULL;
}
typedef struct range {
  const wave* s;
  const void* x;
  void* y;
} range;
static void wave_range(void* argument, int64_t begin, int64_t end) {
  const range* r = argument;
  int64_t i;
  for (i = begin; i < end; ++i) {
    if (r->s->dtype == GR_FLOAT64) {
      ((double*)r->y)[i] = sin(r->s->w * ((const double*)r->x)[i]);
    } else {
      ((float*)r->y)[i] = sinf((float)r->s->w * ((const float*)r->x)[i]);
    }
  }
}
static gr_status* run_wave(void* self, const void* state, gr_run* r) {
  range all;
  (void)self;
  all.s = state;
  all.x = host->kernel->input(r, 0)->data;
  all.y = host->kernel->output(r, 0)->data;
  host->kernel->parallel_for(host->kernel->input(r, 0)->num_elements, 1024, wave_range, &all);
  return NULL;
}
static void destroy_wave(void* self, void* state) {
  (void)self;
  free(state);
}
static gr_status* gradient_wave(void* self, const gr_node* n, gr_gradient* g) {
  gr_builder* b = host->gradient->builder(g);
  const gr_expr x = host->gradient->x(g, 0);
  const char* names[] = {"x", "dy", "w"};
  gr_expr values[3];
  (void)self;
  values[0] = x;
  values[1] = host->gradient->dy(g, 0);
  values[2] = EXPR->number(b, host->node->attr_float(n, "w", 1), x);
  host->gradient->set_dx(g, 0, EXPR->formula(b, "dy * w * cos(w * x)", names, values, 3));
  return NULL;
}

/* Gate: y = x sigmoid(beta x), by its body alone. */
static gr_status* body_gate(void* self, const gr_node* n, gr_builder* b, const gr_expr* in,
                            gr_expr* out) {
  const gr_expr beta = EXPR->number(b, host->node->attr_float(n, "beta", 1), in[0]);
  (void)self;
  out[0] = EXPR->mul(b, in[0], EXPR->sigmoid(b, EXPR->mul(b, beta, in[0])));
  return NULL;
}

/* Positive: the elements above 0, as many as there are. */
static gr_status* infer_positive(void* self, const gr_node* n, gr_infer* c) {
  const gr_dim unknown = {-1, NULL};
  (void)self;
  return host->infer->set_output(c, 0, host->node->input_dtype(n, 0), 1, &unknown);
}
static gr_status* run_positive(void* self, const void* state, gr_run* r) {
  const gr_tensor* x = host->kernel->input(r, 0);
  const float* in = x->data;
  float* out;
  int64_t i, count = 0;
  gr_status* status;
  (void)self, (void)state;
  for (i = 0; i < x->num_elements; ++i) count += in[i] > 0;
  status = host->kernel->resize_output(r, 0, 1, &count);
  if (status != NULL) return status;
  out = host->kernel->output(r, 0)->data;
  for (i = 0; i < x->num_elements; ++i) {
    if (in[i] > 0) *out++ = in[i];
  }
  return NULL;
}

static const int32_t floats[] = {GR_FLOAT32, GR_FLOAT64};
static const gr_type T = {sizeof(gr_type), "T", floats, 2};
static const gr_argument x = {.struct_size = sizeof(gr_argument), .name = "x", .type = "T"};
static const gr_argument y = {.struct_size = sizeof(gr_argument), .name = "y", .type = "T"};
static const gr_attr one = {.struct_size = sizeof(gr_attr), .kind = GR_ATTR_FLOAT, .f = 1};
static const gr_attr_spec w = {sizeof(gr_attr_spec), "w", GR_ATTR_FLOAT, 0, &one, "the frequency"};
static const gr_attr_spec beta = {sizeof(gr_attr_spec), "beta", GR_ATTR_FLOAT, 0, &one, NULL};
static const gr_kernel wave_kernel = {.struct_size = sizeof(gr_kernel),
                                      .name = "plain",
                                      .prepare = prepare_wave,
                                      .run = run_wave,
                                      .destroy = destroy_wave};
static const gr_kernel positive_kernel = {.struct_size = sizeof(gr_kernel),
                                          .name = "plain",
                                          .dtypes = floats,
                                          .num_dtypes = 1,
                                          .run = run_positive};
static const int64_t dims[] = {2, 3};
static const gr_sample_input normal = {
    .struct_size = sizeof(gr_sample_input), .rank = 2, .dims = dims};
static const gr_attr two = {
    .struct_size = sizeof(gr_attr), .name = "w", .kind = GR_ATTR_FLOAT, .f = 2};
static const gr_sample wave_sample = {.struct_size = sizeof(gr_sample),
                                      .inputs = &normal,
                                      .num_inputs = 1,
                                      .attrs = &two,
                                      .num_attrs = 1};

#define OPERATOR(op)                                                                   \
  .struct_size = sizeof(gr_operator), .domain = "test.rich", .name = op, .inputs = &x, \
  .num_inputs = 1, .outputs = &y, .num_outputs = 1, .types = &T, .num_types = 1
static const gr_in_place in_place = {0, 0};
static const gr_operator operators[] = {
    {OPERATOR("Wave"), .attrs = &w, .num_attrs = 1, .infer = infer_wave, .kernels = &wave_kernel,
     .num_kernels = 1, .gradient = gradient_wave, .in_place = &in_place, .num_in_place = 1,
     .samples = &wave_sample, .num_samples = 1},
    {OPERATOR("Gate"), .attrs = &beta, .num_attrs = 1, .infer_rule = GR_INFER_SAME_AS_INPUT,
     .body = body_gate},
    {OPERATOR("TextGate"), .attrs = &beta, .num_attrs = 1, .infer_rule = GR_INFER_SAME_AS_INPUT,
     .body_text = "{ s = Swish<alpha: float = @beta>(x)  y = Identity(s) }"},
    {OPERATOR("Positive"), .infer = infer_positive, .kernels = &positive_kernel, .num_kernels = 1,
     .not_differentiable = "its size depends on its values"},
};

/* Momentum as PyTorch writes it. */
static const gr_parameter momentum[] = {{sizeof(gr_parameter), "beta", 0.9, 0, 1, NULL}};
static const gr_slot velocity[] = {{sizeof(gr_slot), "velocity", 0, 0}};
static gr_status* emit_momentum(void* self, const double* p, gr_builder* b, const gr_update* in,
                                gr_expr* next, gr_expr* slots) {
  const gr_expr beta_v = EXPR->mul(b, EXPR->number(b, p[0], in->parameter), in->slots[0]);
  (void)self;
  slots[0] = EXPR->add(b, beta_v, in->gradient);
  *next = EXPR->sub(b, in->parameter, EXPR->mul(b, in->lr, slots[0]));
  return NULL;
}
static const gr_optimizer optimizer = {
    sizeof(gr_optimizer), "c_momentum", "momentum in C", momentum, 1, 0.01, velocity, 1, NULL,
    emit_momentum};

/* strength / 2 |w|^2 */
static const gr_parameter strength[] = {{sizeof(gr_parameter), "strength", 0, 0, 1e9, NULL}};
static gr_status* l2_gradient(void* self, const double* p, gr_builder* b, gr_expr weights,
                              int32_t unit_axis, gr_expr* out) {
  (void)self, (void)unit_axis;
  *out = EXPR->mul(b, EXPR->number(b, p[0], weights), weights);
  return NULL;
}
static const gr_regularizer regularizer = {
    sizeof(gr_regularizer), "c_l2", NULL, strength, 1, NULL, l2_gradient, NULL, NULL};

/* lr / (1 + rate epoch) */
static const gr_parameter rate[] = {{sizeof(gr_parameter), "rate", 1, 0, 0, NULL}};
static gr_status* emit_hyperbola(void* self, const double* p, gr_builder* b,
                                 const gr_schedule_inputs* in, gr_expr* lr) {
  const char* names[] = {"step", "rate"};
  gr_expr values[2];
  (void)self;
  values[0] = in->step;
  values[1] = EXPR->scalar(b, GR_FLOAT64, p[0] / (double)in->steps_per_epoch);
  *lr = EXPR->mul(b, EXPR->scalar(b, GR_FLOAT64, in->lr),
                  EXPR->formula(b, "1 / (1 + rate * step)", names, values, 2));
  return NULL;
}
static const gr_schedule schedule = {sizeof(gr_schedule), "hyperbola", NULL, rate, 1, NULL,
                                     emit_hyperbola};

/* Row r is (r, 2 r), target r modulo 3. */
static int opened;
static gr_status* get_row(void* state, int64_t row, void* const* out) {
  (void)state;
  if (row == 7) return host->error(GR_DATA_LOSS, "row 7 is unlucky");
  if (out[0] != NULL) {
    ((float*)out[0])[0] = (float)row;
    ((float*)out[0])[1] = 2 * (float)row;
  }
  if (out[1] != NULL) *(int64_t*)out[1] = row % 3;
  return NULL;
}
static gr_status* open_counted(void* self, const gr_dataset_request* request, const gr_rows** out) {
  static const int64_t row_dims[] = {2};
  static const char* const classes[] = {"zero", "one", "two"};
  static const gr_field fields[] = {{.struct_size = sizeof(gr_field),
                                     .name = "pair",
                                     .dtype = GR_FLOAT32,
                                     .rank = 1,
                                     .dims = row_dims,
                                     .range = 10},
                                    {.struct_size = sizeof(gr_field),
                                     .name = "rest",
                                     .dtype = GR_INT64,
                                     .role = GR_TARGET,
                                     .classes = classes,
                                     .num_classes = 3}};
  static gr_rows rows = {sizeof(gr_rows), fields, 2, 5, NULL, get_row};
  size_t i;
  (void)self;
  for (i = 0; i < request->num_options; ++i) {
    if (strcmp(request->option_names[i], "rows") == 0)
      rows.num_rows = atoi(request->option_values[i]);
  }
  ++opened;
  *out = &rows;
  return NULL;
}
static void close_counted(void* self, const gr_rows* rows) {
  (void)self, (void)rows;
  --opened;
}
static const gr_dataset dataset = {sizeof(gr_dataset), "counted",    NULL, ".counted", NULL,
                                   open_counted,       close_counted};

/* Blends every float field with its reverse along the batch. */
static const gr_parameter share[] = {{sizeof(gr_parameter), "share", 0.5, 0, 1, NULL}};
static gr_status* blend(void* self, const double* p, gr_random* random, const gr_tensor* fields,
                        const int32_t* roles, size_t count) {
  size_t f;
  (void)self, (void)roles, (void)random;
  for (f = 0; f < count; ++f) {
    float* data = fields[f].data;
    int64_t rows, size, i, j;
    if (data == NULL || fields[f].dtype != GR_FLOAT32) continue;
    rows = fields[f].dims[0];
    size = rows == 0 ? 0 : fields[f].num_elements / rows;
    for (i = 0; i < rows / 2; ++i) {
      for (j = 0; j < size; ++j) {
        float *a = data + i * size + j, *b = data + (rows - 1 - i) * size + j;
        const float u = *a, v = *b;
        *a = (float)(u + p[0] * (v - u));
        *b = (float)(v + p[0] * (u - v));
      }
    }
  }
  return NULL;
}
static const gr_transform transform = {.struct_size = sizeof(gr_transform),
                                       .name = "blend",
                                       .params = share,
                                       .num_params = 1,
                                       .apply_batch = blend};

/* Exp of Log of x is x. */
static gr_status* exp_of_log(void* self, gr_graph* g) {
  const gr_graph_api* api = host->graph;
  int32_t i;
  (void)self;
  for (i = 0; i < api->num_nodes(g); ++i) {
    const gr_node* n = api->node(g, i);
    const gr_node* log = api->producer(g, n, 0, NULL);
    gr_builder* b;
    gr_status* status;
    if (strcmp(host->node->op_type(n), "Exp") != 0 || log == NULL) continue;
    if (strcmp(host->node->op_type(log), "Log") != 0) continue;
    b = api->before(g, n);
    status = api->replace(b, n, 0, EXPR->identity(b, api->input(b, log, 0)));
    if (status != NULL) return status;
  }
  return NULL;
}
static const gr_pass pass = {sizeof(gr_pass),   "exp-of-log", NULL,
                             GR_PASS_CANONICAL, NULL,         exp_of_log};

static const gr_plugin table = {.struct_size = sizeof(gr_plugin),
                                .name = "rich",
                                .version = "3",
                                .operators = operators,
                                .num_operators = 4,
                                .optimizers = &optimizer,
                                .num_optimizers = 1,
                                .regularizers = &regularizer,
                                .num_regularizers = 1,
                                .schedules = &schedule,
                                .num_schedules = 1,
                                .datasets = &dataset,
                                .num_datasets = 1,
                                .transforms = &transform,
                                .num_transforms = 1,
                                .passes = &pass,
                                .num_passes = 1};

static gr_status* init(const gr_host* h, const gr_plugin** out) {
  host = h;
  *out = &table;
  return NULL;
}
GR_PLUGIN(init);
