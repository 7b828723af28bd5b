#include "tests/plugin/base.h"

static void spoil(void) {
  static gr_argument two[2];
  two[0] = x;
  two[0].arity = GR_VARIADIC;
  two[1] = x;
  two[1].name = "z";
  op.inputs = two;
  op.num_inputs = 2;
}
GR_PLUGIN(init);
