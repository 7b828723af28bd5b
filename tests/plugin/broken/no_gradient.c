#include "tests/plugin/base.h"

static void spoil(void) { op.gradient = 0; }
GR_PLUGIN(init);
