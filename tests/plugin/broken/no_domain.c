#include "tests/plugin/base.h"

static void spoil(void) { op.domain = ""; }
GR_PLUGIN(init);
