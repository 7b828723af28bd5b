#include "plugins/graphrun_plugin.h"

static gr_status* Init(const gr_host*, const gr_plugin**) { throw 42; }
GR_PLUGIN(Init);
