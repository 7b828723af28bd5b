#include "tests/plugin/base.h"

static void spoil(void) { kernel.run = 0; }
GR_PLUGIN(init);
