// Memory of results, and of tangents that are zero.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "../operands.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace equipot {

// Asks for pages of 2 MiB under a large result that is about to be written: with small
// ones, its page faults take longer than the convolution.
inline void use_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage = std::uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t last = (begin + bytes) / kPage * kPage;
  // advice only: nothing is lost where it is not taken
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

// Memory for a result of the shape of an operand.
inline torch::stable::Tensor result_like(const torch::stable::Tensor& operand) {
  torch::stable::Tensor result = torch::stable::empty_like(operand);
  use_huge_pages(result.mutable_data_ptr(), result.numel() * result.element_size());
  return result;
}

// A tangent of the shape of its operand; zeros for one without elements.
inline Tensor tangent_of(const Tensor& operand, const Tensor& given, const char* name,
                         const char* name_of_operand) {
  check_tangent(given, name, operand, name_of_operand, kCpu);
  if (given.numel() == 0) return torch::stable::new_zeros(operand, operand.sizes());
  return given;
}

}  // namespace equipot
