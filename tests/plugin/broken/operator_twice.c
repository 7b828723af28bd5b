#include "tests/plugin/base.h"

static void spoil(void) {
  static gr_operator both[2];
  both[0] = op;
  both[1] = op;
  plugin.operators = both;
  plugin.num_operators = 2;
}
GR_PLUGIN(init);
