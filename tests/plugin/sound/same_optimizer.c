#include "tests/plugin/base.h"

/* An operator of its own, and an optimizer that `sound` has already. */
static void spoil(void) {
  plugin.name = "third";
  op.name = "AddThree";
  plugin.num_losses = plugin.num_passes = 0;
}
GR_PLUGIN(init);
