#include "tests/plugin/base.h"

static void spoil(void) { sample_dims[0] = -4; }
GR_PLUGIN(init);
