#include "tests/plugin/base.h"

static void spoil(void) { pass.run = 0; }
GR_PLUGIN(init);
