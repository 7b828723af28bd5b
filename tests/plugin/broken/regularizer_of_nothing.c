#include "tests/plugin/base.h"

static void spoil(void) { regularizer.penalty = 0; }
GR_PLUGIN(init);
