#include "tests/plugin/base.h"

static void spoil(void) { plugin.struct_size = 0; }
GR_PLUGIN(init);
