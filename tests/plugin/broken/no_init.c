#include "tests/plugin/base.h"

static void spoil(void) {}
const gr_entry graphrun_plugin = {sizeof(gr_entry), GR_ABI_MAJOR, GR_ABI_MINOR, 0};
