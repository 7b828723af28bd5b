#include "tests/plugin/base.h"

static void spoil(void) {
  static gr_slot two[2];
  two[0] = slot;
  two[1] = slot;
  optimizer.slots = two;
  optimizer.num_slots = 2;
}
GR_PLUGIN(init);
