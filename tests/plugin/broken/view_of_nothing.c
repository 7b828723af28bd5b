#include "tests/plugin/base.h"

static void spoil(void) {
  op.flags = GR_OP_VIEW;
  x.arity = GR_OPTIONAL;
}
GR_PLUGIN(init);
