#include "tests/plugin/base.h"

static void spoil(void) { plugin.name = "a b"; }
GR_PLUGIN(init);
