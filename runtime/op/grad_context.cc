#include "runtime/op/grad_context.h"

#include <algorithm>

namespace graphrun {

Expr GradContext::dy(int i) {
  return has_dy(i) ? builder_->Use(dys_[static_cast<size_t>(i)]) : ZerosLike(y(i));
}

std::vector<Expr> BodyContext::xs() {
  std::vector<Expr> all;
  for (int i = 0; i < num_inputs(); ++i) all.push_back(x(i));
  return all;
}

AttrMap BodyContext::AttrsExcept(std::vector<std::string> names) const {
  AttrMap kept;
  for (const auto& [name, value] : node().attrs()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) kept.emplace(name, value);
  }
  return kept;
}

}  // namespace graphrun
