#include "tests/plugin/base.h"

static void spoil(void) { op.num_kernels = 0; }
GR_PLUGIN(init);
