#include "tests/plugin/base.h"

static void spoil(void) { op.domain = "ai.onnx"; }
GR_PLUGIN(init);
