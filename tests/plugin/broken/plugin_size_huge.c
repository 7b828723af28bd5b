#include "tests/plugin/base.h"

static void spoil(void) { plugin.struct_size = (size_t)-8; }
GR_PLUGIN(init);
