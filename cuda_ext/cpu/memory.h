// Allocation of results and of zero tangents.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "../operands.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace equipot {

// Advises the kernel to use huge pages (2 MiB) for a large result before it is written.
// With 4 KiB pages, page faults take longer than the convolution.
inline void use_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage = std::uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t last = (begin + bytes) / kPage * kPage;
  // a failure of madvise affects performance only
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

// Uninitialized result with the shape and type of an operand.
inline torch::stable::Tensor result_like(const torch::stable::Tensor& operand) {
  torch::stable::Tensor result = torch::stable::empty_like(operand);
  use_huge_pages(result.mutable_data_ptr(), result.numel() * result.element_size());
  return result;
}

// Checks a tangent and returns it, or zeros of the operand's shape if it has no elements.
inline Tensor tangent_of(const Tensor& operand, const Tensor& given, const char* name,
                         const char* name_of_operand) {
  check_tangent(given, name, operand, name_of_operand, kCpu);
  if (given.numel() == 0) return torch::stable::new_zeros(operand, operand.sizes());
  return given;
}

}  // namespace equipot
