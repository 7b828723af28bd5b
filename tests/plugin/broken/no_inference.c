#include "tests/plugin/base.h"

static void spoil(void) { op.infer_rule = GR_INFER_FUNCTION; }
GR_PLUGIN(init);
