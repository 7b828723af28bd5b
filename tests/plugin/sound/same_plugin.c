#include "tests/plugin/base.h"

/* Another file with the name of `sound`. */
static void spoil(void) { op.name = "AddTwo"; }
GR_PLUGIN(init);
