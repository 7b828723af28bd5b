/* mixup: each row of a batch becomes l a + (1 - l) b with another row b of it; l comes from
 * Beta(alpha, alpha). Zhang et al. (arXiv:1710.09412). Float targets are mixed by the same l. A
 * class label stays with probability l and else becomes b's: cross-entropy is linear in the target,
 * so the gradient's mean is that of mixed labels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graphrun_plugin.h"

static const gr_host* host;

/* Marsaglia and Tsang's method (2000), with the power of a uniform number for shapes below 1. */
static double gamma_draw(gr_random* random, double shape) {
  const double boosted = shape < 1 ? shape + 1 : shape, d = boosted - 1.0 / 3, c = 1 / sqrt(9 * d);
  double v = 1;
  for (;;) {
    double x = host->random->normal(random), u = host->random->uniform(random);
    v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    if (log(u > 0 ? u : 1e-300) < 0.5 * x * x + d - d * v + d * log(v)) break;
  }
  if (shape < 1) {
    const double u = host->random->uniform(random);
    return d * v * pow(u > 0 ? u : 1e-300, 1 / shape);
  }
  return d * v;
}

static double beta_draw(gr_random* random, double alpha) {
  const double a = gamma_draw(random, alpha), b = gamma_draw(random, alpha);
  return a + b > 0 ? a / (a + b) : 1;
}

/* A row of `from` is mixed into the same row of `to`. */
static void mix_floats(const gr_tensor* to, const char* from, const int64_t* partner,
                       const double* l, int64_t rows, int64_t size) {
  for (int64_t i = 0; i < rows; ++i) {
    if (to->dtype == GR_FLOAT32) {
      float* a = (float*)to->data + i * size;
      const float* b = (const float*)from + partner[i] * size;
      for (int64_t k = 0; k < size; ++k) a[k] = (float)(l[i] * a[k] + (1 - l[i]) * b[k]);
    } else {
      double* a = (double*)to->data + i * size;
      const double* b = (const double*)from + partner[i] * size;
      for (int64_t k = 0; k < size; ++k) a[k] = l[i] * a[k] + (1 - l[i]) * b[k];
    }
  }
}

static size_t size_of(int32_t dtype) {
  switch (dtype) {
    case GR_FLOAT32:
    case GR_INT32:
      return 4;
    case GR_FLOAT64:
    case GR_INT64:
      return 8;
    default:
      return 0;
  }
}

static gr_status* mix_field(const gr_tensor* field, int32_t role, const int64_t* partner,
                            const double* l, const char* takes_partner, int64_t rows) {
  const size_t bytes = size_of(field->dtype);
  const int64_t size = field->num_elements / rows;
  const int is_float = field->dtype == GR_FLOAT32 || field->dtype == GR_FLOAT64;
  if (bytes == 0 || (!is_float && role != GR_TARGET)) {
    return host->error(GR_INVALID_ARGUMENT, "mixup mixes features of float32 or float64");
  }
  const size_t row_bytes = bytes * (size_t)size;
  char* copy = malloc(row_bytes * (size_t)rows + 1);
  if (copy == NULL) return host->error(GR_RESOURCE_EXHAUSTED, "mixup: out of memory");
  memcpy(copy, field->data, row_bytes * (size_t)rows);
  if (is_float) {
    mix_floats(field, copy, partner, l, rows, size);
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      if (!takes_partner[i]) continue;
      memcpy((char*)field->data + (size_t)i * row_bytes, copy + (size_t)partner[i] * row_bytes,
             row_bytes);
    }
  }
  free(copy);
  return NULL;
}

static gr_status* apply_batch(void* self, const double* params, gr_random* random,
                              const gr_tensor* fields, const int32_t* roles, size_t count) {
  int64_t rows = 0;
  (void)self;
  for (size_t f = 0; f < count; ++f) {
    if (fields[f].data != NULL && fields[f].rank > 0) rows = fields[f].dims[0];
  }
  if (rows == 0) return NULL;
  int64_t* partner = malloc(sizeof(int64_t) * (size_t)rows);
  double* l = malloc(sizeof(double) * (size_t)rows);
  char* takes_partner = malloc((size_t)rows);
  gr_status* status = NULL;
  if (partner == NULL || l == NULL || takes_partner == NULL) {
    status = host->error(GR_RESOURCE_EXHAUSTED, "mixup: out of memory");
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      partner[i] = (int64_t)host->random->below(random, (uint64_t)rows);
      l[i] = beta_draw(random, params[0]);
      takes_partner[i] = host->random->uniform(random) >= l[i];
    }
    for (size_t f = 0; f < count && status == NULL; ++f) {
      if (fields[f].data == NULL || fields[f].num_elements == 0) continue;
      status = mix_field(&fields[f], roles[f], partner, l, takes_partner, rows);
    }
  }
  free(partner);
  free(l);
  free(takes_partner);
  return status;
}

static const gr_parameter kParameters[] = {
    {sizeof(gr_parameter), "alpha", 0.2, 1e-3, 1e3, "of the Beta distribution that mixes"}};

static const gr_transform kTransforms[] = {{
    .struct_size = sizeof(gr_transform),
    .name = "mixup",
    .doc = "mixes rows of a batch and their targets",
    .params = kParameters,
    .num_params = 1,
    .apply_batch = apply_batch,
}};

static const gr_plugin kPlugin = {
    .struct_size = sizeof(gr_plugin),
    .name = "mixup",
    .version = "1.0.0",
    .doc = "mixes rows of a batch",
    .transforms = kTransforms,
    .num_transforms = 1,
};

static gr_status* init(const gr_host* h, const gr_plugin** plugin) {
  host = h;
  *plugin = &kPlugin;
  return NULL;
}
GR_PLUGIN(init);
