#include "tests/plugin/base.h"

static void spoil(void) { op.name = (const char*)64; }
GR_PLUGIN(init);
