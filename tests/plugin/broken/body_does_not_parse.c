#include "tests/plugin/base.h"

static void spoil(void) { op.body_text = "{ y = Add(x"; }
GR_PLUGIN(init);
