#include "tests/plugin/base.h"

static void spoil(void) { op.struct_size = 64; }
GR_PLUGIN(init);
