#include "tests/plugin/base.h"

extern int no_library_has_this(void);
static void spoil(void) { op.flags = (uint32_t)no_library_has_this(); }
GR_PLUGIN(init);
