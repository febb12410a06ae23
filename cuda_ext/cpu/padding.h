// Rows of channels padded to whole SIMD vectors, and scratch space for padded copies.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Divides the scratch space of a thread into consecutive parts, each padded to whole
// vectors. If the memory is null, the parts are null and only the total size is computed.
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

// Returns `rows` if stride equals channels, otherwise copies them to `copy` with the
// given stride. Precondition: the padding of `copy` is zero; it remains zero.
template <class S>
const S* whole_vectors(const S* rows, int64_t count, int64_t channels, int64_t stride,
                       S* copy) {
  if (channels == stride) return rows;
  for (int64_t r = 0; r < count; ++r) {
    std::memcpy(copy + r * stride, rows + r * channels, channels * sizeof(S));
  }
  return copy;
}

// Copies padded rows to `target` without padding; does nothing if they are the same
// memory.
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
