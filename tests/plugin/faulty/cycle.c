#include "tests/plugin/base.h"

/* A pass that makes a graph go in circles. */
static gr_status* make_cycle(void* self, gr_graph* g) {
  const gr_node *first, *last;
  gr_builder* b;
  (void)self;
  if (host->graph->num_nodes(g) < 2) return 0;
  first = host->graph->node(g, 0);
  last = host->graph->node(g, host->graph->num_nodes(g) - 1);
  b = host->graph->before(g, first);
  return host->graph->replace(b, first, 0, host->expr->neg(b, host->graph->output(b, last, 0)));
}

static void spoil(void) {
  pass.run = make_cycle;
  pass.phase = GR_PASS_CANONICAL;
}
GR_PLUGIN(init);
