#include "tests/plugin/base.h"

static void spoil(void) { x.arity = 5; }
GR_PLUGIN(init);
