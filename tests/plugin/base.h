/* A small plugin that is sound, in parts that a broken one changes before it hands them over: an
 * operator test.plugin.AddOne, y = x + 1, and one of each of the other things. */
#ifndef TESTS_PLUGIN_BASE_H_
#define TESTS_PLUGIN_BASE_H_

#include "plugins/graphrun_plugin.h"

static const gr_host* host;

static gr_status* run(void* self, const void* state, gr_run* r) {
  const gr_tensor* x = host->kernel->input(r, 0);
  gr_tensor* y = host->kernel->output(r, 0);
  int64_t i;
  (void)self, (void)state;
  for (i = 0; i < x->num_elements; ++i) ((float*)y->data)[i] = ((const float*)x->data)[i] + 1;
  return 0;
}
static gr_status* gradient(void* self, const gr_node* n, gr_gradient* g) {
  (void)self, (void)n;
  host->gradient->set_dx(g, 0, host->gradient->dy(g, 0));
  return 0;
}
static gr_status* emit_loss(void* self, const double* params, gr_builder* b,
                            const gr_loss_inputs* in, gr_expr* loss) {
  (void)self, (void)params;
  *loss = host->expr->reduce_mean(
      b, host->expr->square(b, host->expr->sub(b, in->output, in->target)), 0, 0, 0);
  return 0;
}
static gr_status* emit_update(void* self, const double* params, gr_builder* b, const gr_update* in,
                              gr_expr* w, gr_expr* slots) {
  const char* names[] = {"w", "g", "lr"};
  const gr_expr values[] = {in->parameter, in->gradient, in->lr};
  (void)self, (void)params;
  *w = host->expr->formula(b, "w - lr * g", names, values, 3);
  slots[0] = in->gradient;
  return 0;
}
static gr_status* penalty(void* self, const double* params, gr_builder* b, gr_expr w,
                          int32_t unit_axis, gr_expr* out) {
  (void)self, (void)params, (void)unit_axis;
  *out = host->expr->reduce_sum(b, w, 0, 0, 0);
  return 0;
}
static gr_status* emit_lr(void* self, const double* params, gr_builder* b,
                          const gr_schedule_inputs* in, gr_expr* lr) {
  (void)self;
  *lr = host->expr->scalar(b, GR_FLOAT64, in->lr * params[0]);
  return 0;
}
static gr_status* open_rows(void* self, const gr_dataset_request* request, const gr_rows** rows) {
  static const float x[] = {1, 2, 3, 4};
  static const int64_t y[] = {0, 1};
  static const int64_t dims[] = {2};
  static gr_field fields[] = {{sizeof(gr_field), "x", GR_FLOAT32, GR_FEATURE, 1, dims, 0, 0, 0, x},
                              {sizeof(gr_field), "y", GR_INT64, GR_TARGET, 0, 0, 0, 0, 0, y}};
  static const gr_rows all = {sizeof(gr_rows), fields, 2, 2, 0, 0};
  (void)self, (void)request;
  *rows = &all;
  return 0;
}
static gr_status* apply(void* self, const double* params, gr_random* random, double range,
                        int32_t rank, const int64_t* dims, const float* input, float* output) {
  int64_t n = 1, i;
  (void)self, (void)random, (void)range;
  for (i = 0; i < rank; ++i) n *= dims[i];
  for (i = 0; i < n; ++i) output[i] = (float)params[0] * input[i];
  return 0;
}
static double g_rows;
static gr_status* update_metric(void* self, void* state, const gr_tensor* p, const gr_tensor* t,
                                int32_t logits) {
  (void)self, (void)state, (void)t, (void)logits;
  g_rows += (double)p->dims[0];
  return 0;
}
static double metric_value(void* self, void* state) {
  (void)self, (void)state;
  return g_rows;
}
static void reset_metric(void* self, void* state) {
  (void)self, (void)state;
  g_rows = 0;
}
static gr_status* run_pass(void* self, gr_graph* g) {
  (void)self, (void)g;
  return 0;
}

static int32_t floats[] = {GR_FLOAT32};
static gr_type type = {sizeof(gr_type), "T", floats, 1};
static gr_argument x = {sizeof(gr_argument), "x", "T", GR_SINGLE, GR_BY_RANK, 0, 0};
static gr_argument y = {sizeof(gr_argument), "y", "T", GR_SINGLE, GR_BY_RANK, 0, 0};
static gr_attr value = {sizeof(gr_attr), "by", GR_ATTR_FLOAT, 0, 0, 1.0, 0, 0, 0, 0, 0};
static gr_attr_spec attr = {sizeof(gr_attr_spec), "by", GR_ATTR_FLOAT, 0, &value, 0};
static gr_kernel kernel = {sizeof(gr_kernel), "plain", 0, 0, floats, 1, 0, 0, run, 0};
static gr_in_place in_place = {0, 0};
static int64_t sample_dims[] = {2, 3};
static gr_sample_input sample_input = {
    sizeof(gr_sample_input), GR_FILL_NORMAL, 2, sample_dims, 0, 0, 0, 0};
static gr_sample sample = {sizeof(gr_sample), &sample_input, 1, 0, 0, 0, 0, 0, 0, 0};
static gr_operator op = {sizeof(gr_operator),
                         "test.plugin",
                         "AddOne",
                         1,
                         0,
                         "y = x + 1",
                         &x,
                         1,
                         &y,
                         1,
                         &type,
                         1,
                         &attr,
                         1,
                         0,
                         GR_INFER_SAME_AS_INPUT,
                         0,
                         &kernel,
                         1,
                         gradient,
                         0,
                         0,
                         0,
                         0,
                         0,
                         &in_place,
                         1,
                         &sample,
                         1};

static gr_parameter parameter = {sizeof(gr_parameter), "scale", 0.5, 0, 1, "a factor"};
static gr_loss loss = {sizeof(gr_loss),  "test_loss",  "", 0,        0,
                       GR_TARGET_VALUES, GR_LINK_NONE, 0,  emit_loss};
static gr_slot slot = {sizeof(gr_slot), "last", 0, 0};
static gr_optimizer optimizer = {sizeof(gr_optimizer), "test_sgd", "", 0, 0, 0.1, &slot, 1, 0,
                                 emit_update};
static gr_regularizer regularizer = {
    sizeof(gr_regularizer), "test_sum", "", 0, 0, 0, 0, penalty, 0};
static gr_schedule schedule = {sizeof(gr_schedule), "test_scaled", "", &parameter, 1, 0, emit_lr};
static gr_dataset dataset = {sizeof(gr_dataset), "test_rows", "", ".rows", 0, open_rows, 0};
static gr_transform transform = {
    sizeof(gr_transform), "test_times", "", &parameter, 1, 0, 0, apply};
static gr_metric metric = {sizeof(gr_metric), "test_rows",  "",           1, 0, 0,
                           update_metric,     metric_value, reset_metric, 0};
static gr_pass pass = {sizeof(gr_pass), "test-pass", "", GR_PASS_FUSE, 0, run_pass};
static gr_kernel added = {sizeof(gr_kernel), "added", "", "Relu", floats, 1, 0, 0, run, 0};

static gr_plugin plugin = {sizeof(gr_plugin),
                           "test",
                           "1.0",
                           "a plugin of the tests",
                           &op,
                           1,
                           0,
                           0,
                           &loss,
                           1,
                           &optimizer,
                           1,
                           &regularizer,
                           1,
                           &schedule,
                           1,
                           &dataset,
                           1,
                           &transform,
                           1,
                           &metric,
                           1,
                           &pass,
                           1};

/* Each plugin's own. */
static void spoil(void);

static gr_status* init(const gr_host* h, const gr_plugin** p) {
  host = h;
  *p = &plugin;
  (void)added;
  spoil();
  return 0;
}

#endif
