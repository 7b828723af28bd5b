#include "tests/plugin/base.h"

static void spoil(void) { op.inputs = (const gr_argument*)((const char*)&x + 1); }
GR_PLUGIN(init);
