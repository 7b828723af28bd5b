#include "tests/plugin/base.h"

static void spoil(void) { floats[0] = GR_STRING; }
GR_PLUGIN(init);
