#include "tests/plugin/base.h"

static void spoil(void) { op.domain = "ai.onnx.ml"; }
GR_PLUGIN(init);
