#include "tests/plugin/base.h"

static void spoil(void) { optimizer.name = "adam"; }
GR_PLUGIN(init);
