#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

gr_status* MakeStatus(int32_t code, const char* message) {
  auto* status = new gr_status;
  status->code = code > 0 && code <= GR_UNAUTHENTICATED ? static_cast<absl::StatusCode>(code)
                                                        : absl::StatusCode::kUnknown;
  status->message = message == nullptr ? "" : message;
  return status;
}

}  // namespace

const gr_host* HostTable() {
  static const gr_host table = {
      .struct_size = sizeof(gr_host),
      .abi_major = GR_ABI_MAJOR,
      .abi_minor = GR_ABI_MINOR,
      .version = GRAPHRUN_VERSION,
      .error = MakeStatus,
      .error_code =
          [](const gr_status* s) { return s == nullptr ? 0 : static_cast<int32_t>(s->code); },
      .error_message = [](const gr_status* s) { return s == nullptr ? "" : s->message.c_str(); },
      .error_free = [](gr_status* s) { delete s; },
      .node = &kNodeApi,
      .infer = &kInferApi,
      .kernel = &kKernelApi,
      .expr = &kExprApi,
      .gradient = &kGradientApi,
      .graph = &kGraphApi,
      .random = &kRandomApi,
  };
  return &table;
}

}  // namespace graphrun
