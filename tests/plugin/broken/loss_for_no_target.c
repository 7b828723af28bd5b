#include "tests/plugin/base.h"

static void spoil(void) { loss.target = 9; }
GR_PLUGIN(init);
