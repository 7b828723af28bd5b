#include "tests/plugin/base.h"

static void spoil(void) { plugin.num_operators = 1000000000; }
GR_PLUGIN(init);
