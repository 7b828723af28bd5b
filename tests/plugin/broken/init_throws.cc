#include <stdexcept>

#include "plugins/graphrun_plugin.h"

static gr_status* Init(const gr_host*, const gr_plugin**) {
  throw std::runtime_error("no battery");
}
GR_PLUGIN(Init);
