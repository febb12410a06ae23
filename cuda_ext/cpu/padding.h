// Rows of channels with a stride of whole vectors, and scratch space for copies of them.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Parts of the scratch space of a thread, one after another, each of whole vectors.
// Without memory they are null, and only their size counts.
template <class S>
class Parts {
 public:
  explicit Parts(S* memory) : memory_(memory) {}

  S* take(int64_t count) {
    S* part = memory_ == nullptr ? nullptr : memory_ + size_;
    size_ += padded<S>(count);
    return part;
  }

  int64_t size() const { return size_; }

 private:
  S* memory_;
  int64_t size_ = 0;
};

// The rows given, or a copy of them whose padding is zero as the copy's was before.
template <class S>
const S* whole_vectors(const S* rows, int64_t count, int64_t channels, int64_t stride,
                       S* copy) {
  if (channels == stride) return rows;
  for (int64_t r = 0; r < count; ++r) {
    std::memcpy(copy + r * stride, rows + r * channels, channels * sizeof(S));
  }
  return copy;
}

// Copies rows back from where they were padded, if they were.
template <class S>
void without_padding(const S* rows, int64_t count, int64_t channels, int64_t stride,
                     S* target) {
  if (rows == target) return;
  for (int64_t r = 0; r < count; ++r) {
    std::memcpy(target + r * channels, rows + r * stride, channels * sizeof(S));
  }
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
