#include "tests/plugin/base.h"

static void spoil(void) { op.inputs = (const gr_argument*)16; }
GR_PLUGIN(init);
