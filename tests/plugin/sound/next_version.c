#include "tests/plugin/base.h"

/* Another plugin that claims the next version of an operator of `sound`. */
static void spoil(void) {
  plugin.name = "next";
  op.since_version = 2;
  plugin.num_losses = plugin.num_optimizers = plugin.num_regularizers = plugin.num_schedules = 0;
  plugin.num_datasets = plugin.num_transforms = plugin.num_metrics = plugin.num_passes = 0;
}
GR_PLUGIN(init);
