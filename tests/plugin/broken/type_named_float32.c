#include "tests/plugin/base.h"

static void spoil(void) { type.variable = "float32"; }
GR_PLUGIN(init);
