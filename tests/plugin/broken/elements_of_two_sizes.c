#include "tests/plugin/base.h"

static void spoil(void) {
  static gr_argument two[2];
  two[0] = x;
  two[1] = x;
  two[1].name = "z";
  two[1].struct_size += 8;
  op.inputs = two;
  op.num_inputs = 2;
}
GR_PLUGIN(init);
