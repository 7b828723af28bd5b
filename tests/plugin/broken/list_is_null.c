#include "tests/plugin/base.h"

static void spoil(void) {
  plugin.operators = 0;
  plugin.num_operators = 3;
}
GR_PLUGIN(init);
