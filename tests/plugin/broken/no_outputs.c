#include "tests/plugin/base.h"

static void spoil(void) { op.num_outputs = 0; }
GR_PLUGIN(init);
