// Validation of the tensor arguments of ops, on any device, and access to their data.
// Error messages state the expected and the actual value.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

// Throws std::runtime_error if the condition is false. The message is the concatenation
// of the remaining arguments.
#define EQUIPOT_CHECK(condition, ...)                           \
  do {                                                          \
    if (!(condition)) ::equipot::throw_message(__VA_ARGS__);    \
  } while (false)

namespace equipot {

template <class... Parts>
[[noreturn]] void throw_message(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline const char* name_of(ScalarType type) {
  switch (type) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Int: return "int32";
    case ScalarType::Long: return "int64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    default: return "another type";
  }
}

inline std::string shape_of(const Tensor& tensor) {
  std::string shape = "(";
  for (int64_t n = 0; n < tensor.dim(); ++n) {
    shape += (n == 0 ? "" : ", ") + std::to_string(tensor.size(n));
  }
  return shape + ")";
}

// A size of -1 in `expected` matches any size.
inline void check_shape(const Tensor& tensor, const char* name,
                        std::initializer_list<int64_t> expected, const char* meaning) {
  bool same = tensor.dim() == static_cast<int64_t>(expected.size());
  int64_t n = 0;
  for (const int64_t size : expected) {
    same = same && (size == -1 || tensor.size(n) == size);
    ++n;
  }
  EQUIPOT_CHECK(same, name, " must have shape ", meaning, ", got ", shape_of(tensor));
}

// Device on which the tensors of an op must reside: the CPU or one GPU.
struct Device {
  bool cuda;
  int32_t index;  // GPU index; unused on the CPU
};
constexpr Device kCpu{false, 0};

inline Device gpu_of(const Tensor& tensor) { return {true, tensor.get_device_index()}; }

inline void check_tensor(const Tensor& tensor, const char* name, ScalarType expected,
                         const Device& device) {
  EQUIPOT_CHECK(tensor.scalar_type() == expected, name, " must be ", name_of(expected),
                ", got ", name_of(tensor.scalar_type()));
  if (device.cuda) {
    EQUIPOT_CHECK(tensor.is_cuda() && tensor.get_device_index() == device.index, name,
                  " must be on the GPU that x is on, number ", device.index);
  } else {
    EQUIPOT_CHECK(tensor.is_cpu(), name, " must be on the CPU, as the other operands are");
  }
  EQUIPOT_CHECK(tensor.is_contiguous(), name,
                " must be contiguous: call .contiguous() on it");
}

inline void check_floating(const Tensor& tensor, const char* name) {
  EQUIPOT_CHECK(
      tensor.scalar_type() == ScalarType::Float ||
          tensor.scalar_type() == ScalarType::Double,
      name, " must be float32 or float64, got ", name_of(tensor.scalar_type()),
      "; the sums of a convolution are inaccurate in lower precision");
}

template <class S>
const S* data(const Tensor& tensor) {
  return static_cast<const S*>(tensor.const_data_ptr());
}

template <class S>
S* mutable_data(Tensor& tensor) {
  return static_cast<S*>(tensor.mutable_data_ptr());
}

// Pointer to the data, or null if the tensor is absent (null) or has no elements.
template <class S>
const S* data_of(const Tensor* tensor) {
  const bool absent = tensor == nullptr || tensor->numel() == 0;
  return absent ? nullptr : data<S>(*tensor);
}

template <class S>
S* data_of(Tensor* tensor) {
  return tensor == nullptr ? nullptr : mutable_data<S>(*tensor);
}

// Calls body with a zero of the tensor's scalar type. Precondition: check_floating has
// accepted the tensor.
template <class Body>
void with_type_of(const Tensor& tensor, const Body& body) {
  if (tensor.scalar_type() == ScalarType::Float) {
    body(0.0F);
  } else {
    body(0.0);
  }
}

}  // namespace equipot
