#include "tests/plugin/base.h"

static void spoil(void) { attr.kind = 44; }
GR_PLUGIN(init);
