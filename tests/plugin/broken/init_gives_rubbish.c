#include "plugins/graphrun_plugin.h"

static gr_status* init(const gr_host* host, const gr_plugin** plugin) {
  (void)host;
  *plugin = (const gr_plugin*)4096;
  return NULL;
}
GR_PLUGIN(init);
