#include "tests/plugin/base.h"

/* Compiled with the header as it was: tests/plugin/CMakeLists.txt. */
#if GR_ABI_MINOR != 0
#error "the header is not that of version 1.0"
#endif

static void spoil(void) {}
GR_PLUGIN(init);
