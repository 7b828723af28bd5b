#include "tests/plugin/base.h"

static void spoil(void) { value.kind = GR_ATTR_INT; }
GR_PLUGIN(init);
