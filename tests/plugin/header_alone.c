#include "graphrun_plugin.h"

static gr_status* init(const gr_host* host, const gr_plugin** plugin) {
  *plugin = NULL;
  return host->error(GR_UNIMPLEMENTED, "compiled to see whether it compiles");
}
GR_PLUGIN(init);
