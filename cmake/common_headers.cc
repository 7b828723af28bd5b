// The target that compiles common_headers.h needs a source.
