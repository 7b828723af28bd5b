#include "tests/plugin/base.h"

static void spoil(void) { op.flags = 64; }
GR_PLUGIN(init);
