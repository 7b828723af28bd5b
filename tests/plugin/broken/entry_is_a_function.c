__attribute__((visibility("default"))) int graphrun_plugin(void);
int graphrun_plugin(void) { return 0; }
