#include "tests/plugin/base.h"

static void spoil(void) { attr.required = 1; }
GR_PLUGIN(init);
