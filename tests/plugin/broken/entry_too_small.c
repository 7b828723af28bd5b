#include "tests/plugin/base.h"

static void spoil(void) {}
const gr_entry graphrun_plugin = {4, GR_ABI_MAJOR, GR_ABI_MINOR, init};
