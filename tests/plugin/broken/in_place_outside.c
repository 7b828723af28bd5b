#include "tests/plugin/base.h"

static void spoil(void) { in_place.input = 3; }
GR_PLUGIN(init);
