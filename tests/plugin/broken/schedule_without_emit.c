#include "tests/plugin/base.h"

static void spoil(void) { schedule.emit = 0; }
GR_PLUGIN(init);
