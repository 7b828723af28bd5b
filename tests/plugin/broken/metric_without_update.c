#include "tests/plugin/base.h"

static void spoil(void) { metric.update = 0; }
GR_PLUGIN(init);
