#include "tests/plugin/base.h"

static void spoil(void) {
  added.op_type = "Nonsense";
  plugin.kernels = &added;
  plugin.num_kernels = 1;
}
GR_PLUGIN(init);
