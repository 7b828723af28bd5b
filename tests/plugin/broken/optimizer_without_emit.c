#include "tests/plugin/base.h"

static void spoil(void) { optimizer.emit = 0; }
GR_PLUGIN(init);
