#include "tests/plugin/base.h"

static void spoil(void) { optimizer.default_lr = -1; }
GR_PLUGIN(init);
