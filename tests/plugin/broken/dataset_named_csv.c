#include "tests/plugin/base.h"

static void spoil(void) { dataset.name = "csv"; }
GR_PLUGIN(init);
