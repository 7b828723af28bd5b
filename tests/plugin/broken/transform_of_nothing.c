#include "tests/plugin/base.h"

static void spoil(void) { transform.apply = 0; }
GR_PLUGIN(init);
