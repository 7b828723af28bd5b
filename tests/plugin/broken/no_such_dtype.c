#include "tests/plugin/base.h"

static void spoil(void) { floats[0] = 99; }
GR_PLUGIN(init);
