#include "tests/plugin/base.h"

static int32_t many[2];
static void spoil(void) { type.dtypes = (const int32_t*)((const char*)many + 1); }
GR_PLUGIN(init);
