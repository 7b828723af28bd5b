#include "tests/plugin/base.h"

static void spoil(void) {
  static char name[5000];
  int i;
  for (i = 0; i < 4999; ++i) name[i] = (char)(97 + i % 26);
  plugin.name = name;
}
GR_PLUGIN(init);
