#include "tests/plugin/base.h"

static void spoil(void) { dataset.open = 0; }
GR_PLUGIN(init);
