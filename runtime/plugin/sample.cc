#include "runtime/plugin/sample.h"

#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

absl::Status AddInput(const gr_sample_input& input, const std::string& where, Sample* sample) {
  switch (input.fill) {
    case GR_FILL_NORMAL:
    case GR_FILL_UNIFORM: {
      GR_ASSIGN_OR_RETURN(Dims dims, CopyDims(input.rank, input.dims, where));
      if (input.fill == GR_FILL_NORMAL) {
        sample->In(std::move(dims));
      } else if (input.low < input.high) {
        sample->In(std::move(dims), input.low, input.high);
      } else {
        return PluginError(where, ": low is ", input.low, ", which is not below high, ",
                           input.high);
      }
      break;
    }
    case GR_FILL_TENSOR: {
      GR_ASSIGN_OR_RETURN(Tensor tensor, CopyTensor(input.tensor, where));
      sample->In(std::move(tensor));
      break;
    }
    case GR_FILL_OMITTED:
      sample->None();
      return absl::OkStatus();
    default:
      return PluginError(where, ": fill ", input.fill, " is none of GR_FILL_...");
  }
  if (input.constant != 0) sample->Constant();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sample> ReadSample(const gr_sample& given, const std::string& where) {
  constexpr size_t kMostText = 4096;
  Sample sample;
  GR_ASSIGN_OR_RETURN(auto inputs,
                      TableReader::List(given.inputs, given.num_inputs,
                                        GR_THROUGH(gr_sample_input, constant), where + ": inputs"));
  for (size_t i = 0; i < inputs.size(); ++i) {
    GR_RETURN_IF_ERROR(AddInput(inputs[i], absl::StrCat(where, ": input ", i), &sample));
  }
  GR_ASSIGN_OR_RETURN(auto attrs,
                      TableReader::List(given.attrs, given.num_attrs, GR_THROUGH(gr_attr, strings),
                                        where + ": attrs"));
  for (const gr_attr& a : attrs) {
    GR_ASSIGN_OR_RETURN(std::string name, TableReader::Name(a.name, "_", where + ": an attribute"));
    GR_ASSIGN_OR_RETURN(Attr value, CopyAttr(a, absl::StrCat(where, ": attribute ", name)));
    sample.Attr(std::move(name), std::move(value));
  }
  if (given.num_outputs < 0 || given.num_outputs > 1024) {
    return PluginError(where, ": num_outputs is ", given.num_outputs);
  }
  sample.Outputs(std::max(given.num_outputs, 1));
  const auto text = [&](const char* words) { return TableReader::Text(words, kMostText, where); };
  GR_ASSIGN_OR_RETURN(std::string no_gradient, text(given.no_gradient));
  GR_ASSIGN_OR_RETURN(std::string no_compare, text(given.no_compare));
  GR_ASSIGN_OR_RETURN(std::string refused, text(given.refused));
  sample.NoGradient(std::move(no_gradient)).NoCompare(std::move(no_compare));
  sample.Refused(std::move(refused));
  if (given.gives != nullptr) {
    GR_ASSIGN_OR_RETURN(Tensor tensor, CopyTensor(given.gives, where + ": gives"));
    sample.Gives(std::move(tensor));
  }
  return sample;
}

}  // namespace graphrun
