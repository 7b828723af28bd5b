#include "tests/plugin/base.h"

static void spoil(void) { metric.name = "accuracy"; }
GR_PLUGIN(init);
