#include "tests/plugin/base.h"

static void spoil(void) { loss.link = 9; }
GR_PLUGIN(init);
