#include "tests/plugin/base.h"

static void spoil(void) { parameter.fallback = 3; }
GR_PLUGIN(init);
