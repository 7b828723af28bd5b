#include "plugins/graphrun_plugin.h"

static gr_status* init(const gr_host* host, const gr_plugin** plugin) {
  (void)host, (void)plugin;
  return NULL;
}
GR_PLUGIN(init);
