#include "tests/plugin/base.h"

static void spoil(void) { sample_dims[0] = INT64_MAX; }
GR_PLUGIN(init);
