#include "tests/plugin/base.h"

static void spoil(void) { pass.phase = 4; }
GR_PLUGIN(init);
