#include "tests/plugin/base.h"

static void spoil(void) { x.type = "Q"; }
GR_PLUGIN(init);
