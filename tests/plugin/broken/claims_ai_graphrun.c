#include "tests/plugin/base.h"

static void spoil(void) { op.domain = "ai.graphrun"; }
GR_PLUGIN(init);
