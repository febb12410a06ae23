// Device primitives of the kernels. nvcc and the host simulator compile the same
// sources.
//
// A host compiler includes tests/cuda/simulator.h instead of CUDA. It simulates each
// thread by a fiber, implements barriers and shuffles, and initializes shared memory
// with NaN.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#include <cassert>
#define EQUIPOT_CONSTEXPR __host__ __device__ constexpr
#else
#include "simulator.h"
#define EQUIPOT_CONSTEXPR constexpr
#endif

namespace equipot {

constexpr int kLanes = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
// Maximum number of warps per block; they process different edges of one node.
constexpr int kMaxWarps = 4;

#if defined(__CUDACC__)
// Dynamic shared memory of the block; its size is set by the launch.
__device__ inline unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
}

// Terminates the kernel with an error. The message is printed, and the next CUDA call
// of the host returns cudaErrorAssert.
[[noreturn]] inline __device__ __noinline__ void fail(const char* message) {
  __assert_fail(message, "equipot", 0, "kernel");
}
#endif

__device__ inline int lane_index() { return threadIdx.x % kLanes; }
__device__ inline int warp_index() { return threadIdx.x / kLanes; }
__device__ inline int num_warps() { return blockDim.x / kLanes; }

// Bytes of shared memory for `count` elements, rounded up to a multiple of 16.
template <typename Element>
EQUIPOT_CONSTEXPR int64_t shared_bytes(int64_t count) {
  constexpr int64_t kAlignment = 16;
  const int64_t bytes = count * int64_t{sizeof(Element)};
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename Element>
__device__ inline Element* shared_at(int64_t offset) {
  return reinterpret_cast<Element*>(shared_memory() + offset);
}

// Sums each of `values` over groups of kCount lanes. Lane n returns the sum of value
// n % kCount. Each step halves the number of values per lane, so that kCount sums take
// kCount - 1 shuffles.
template <int kCount, typename Scalar>
__device__ inline Scalar sum_by_halving(const Scalar (&values)[kCount]) {
  if constexpr (kCount == 1) {
    return values[0];
  } else {
    constexpr int kHalf = kCount / 2;
    const bool upper = (lane_index() & kHalf) != 0;
    Scalar halved[kHalf];
#pragma unroll
    for (int n = 0; n < kHalf; ++n) {
      const Scalar kept = upper ? values[n + kHalf] : values[n];
      const Scalar given = upper ? values[n] : values[n + kHalf];
      halved[n] = kept + __shfl_xor_sync(kAllLanes, given, kHalf);
    }
    return sum_by_halving(halved);
  }
}

// Sums each of `values` over the warp. Lane n returns the sum of value n % kCount.
template <int kCount, typename Scalar>
__device__ inline Scalar sum_over_lanes(const Scalar (&values)[kCount]) {
  static_assert(kCount <= kLanes && (kCount & (kCount - 1)) == 0, "a power of two");
  Scalar sum = sum_by_halving(values);
#pragma unroll
  for (int offset = kCount; offset < kLanes; offset *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, offset);
  }
  return sum;
}

}  // namespace equipot
