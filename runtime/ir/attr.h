// Attr: a constant parameter of a node.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/variant.h"
#include "runtime/base/shape.h"
#include "runtime/base/tensor.h"

namespace graphrun {

class Graph;

// ONNX's AttributeProto as a value. A graph in an attribute is owned by it and shared by copies; it
// is not edited in place once a node holds it (clone it, edit, set it again).
class Attr {
 public:
  enum class Kind {
    kInt,
    kFloat,
    kString,
    kTensor,
    kGraph,
    kType,
    kInts,
    kFloats,
    kStrings,
    kTensors,
    kGraphs,
    kTypes,
    kRef
  };
  // The name of an attribute of the enclosing function, as used inside function bodies
  // (ref_attr_name).
  struct Ref {
    std::string name;
    Kind kind;
  };
  using GraphPtr = std::shared_ptr<const Graph>;

  Attr(int64_t v) : v_(v) {}                              // NOLINT: values are attributes
  Attr(int v) : v_(int64_t{v}) {}                         // NOLINT
  Attr(bool v) : v_(int64_t{v}) {}                        // NOLINT
  Attr(float v) : v_(v) {}                                // NOLINT
  Attr(double v) : v_(static_cast<float>(v)) {}           // NOLINT
  Attr(std::string v) : v_(std::move(v)) {}               // NOLINT
  Attr(const char* v) : v_(std::string(v)) {}             // NOLINT
  Attr(Tensor v) : v_(std::move(v)) {}                    // NOLINT
  Attr(GraphPtr v) : v_(std::move(v)) {}                  // NOLINT
  Attr(Type v) : v_(std::move(v)) {}                      // NOLINT
  Attr(std::vector<int64_t> v) : v_(std::move(v)) {}      // NOLINT
  Attr(std::vector<float> v) : v_(std::move(v)) {}        // NOLINT
  Attr(std::vector<std::string> v) : v_(std::move(v)) {}  // NOLINT
  Attr(std::vector<Tensor> v) : v_(std::move(v)) {}       // NOLINT
  Attr(std::vector<GraphPtr> v) : v_(std::move(v)) {}     // NOLINT
  Attr(std::vector<Type> v) : v_(std::move(v)) {}         // NOLINT
  Attr(Ref v) : v_(std::move(v)) {}                       // NOLINT

  Kind kind() const { return static_cast<Kind>(v_.index()); }
  // The value, or null where the attribute holds another kind: attr.get<int64_t>(), get<float>(),
  // get<std::string>(), get<Tensor>(), get<GraphPtr>(), get<Type>(), get<std::vector<int64_t>>(),
  // ...
  template <typename T>
  const T* get() const {
    return absl::get_if<T>(&v_);
  }
  // Equal kind and value; tensors by bits, graphs by identity.
  bool operator==(const Attr& o) const;
  std::string ToString() const;  // as in the text syntax: 1, 0.5, "s", [1, 2]

 private:
  absl::variant<int64_t, float, std::string, Tensor, GraphPtr, Type, std::vector<int64_t>,
                std::vector<float>, std::vector<std::string>, std::vector<Tensor>,
                std::vector<GraphPtr>, std::vector<Type>, Ref>
      v_;
};

absl::string_view AttrKindName(Attr::Kind kind);  // "int", "floats", ...

}  // namespace graphrun
