#include "plugins/graphrun_plugin.h"

static gr_status* init(const gr_host* host, const gr_plugin** plugin) {
  static long long words[16];
  (void)host, (void)plugin;
  return (gr_status*)words;
}
GR_PLUGIN(init);
