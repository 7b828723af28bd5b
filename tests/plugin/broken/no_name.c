#include "tests/plugin/base.h"

static void spoil(void) { plugin.name = 0; }
GR_PLUGIN(init);
