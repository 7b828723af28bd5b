#include "tests/plugin/base.h"

static void spoil(void) { op.not_differentiable = "never"; }
GR_PLUGIN(init);
