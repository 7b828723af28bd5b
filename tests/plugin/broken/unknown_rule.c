#include "tests/plugin/base.h"

static void spoil(void) { op.infer_rule = 7; }
GR_PLUGIN(init);
