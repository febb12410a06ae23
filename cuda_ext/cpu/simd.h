// SIMD vectors of the register width of the target instruction set.
//
// For kernels only (see isa.h): all definitions are in the namespace of the instruction
// set.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#define EQUIPOT_VECTOR_BYTES 64
#define EQUIPOT_REGISTERS 32
#elif defined(__AVX2__)
#define EQUIPOT_VECTOR_BYTES 32
#define EQUIPOT_REGISTERS 16
#elif defined(__aarch64__)
#define EQUIPOT_VECTOR_BYTES 16
#define EQUIPOT_REGISTERS 32
#else
#define EQUIPOT_VECTOR_BYTES 16
#define EQUIPOT_REGISTERS 16
#endif

#define EQUIPOT_UNROLL _Pragma("GCC unroll 16")

namespace equipot {
namespace EQUIPOT_ISA {

template <class S>
struct VectorTypes {
  typedef S vector __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
  typedef S unaligned
      __attribute__((vector_size(EQUIPOT_VECTOR_BYTES), aligned(alignof(S)), may_alias));
};
template <>
struct VectorTypes<float> {
  typedef float vector __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
  typedef float unaligned
      __attribute__((vector_size(EQUIPOT_VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t indices __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
};
template <>
struct VectorTypes<double> {
  typedef double vector __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
  typedef double unaligned
      __attribute__((vector_size(EQUIPOT_VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t indices __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
};

template <class S>
using Vector = typename VectorTypes<S>::vector;

template <class S>
constexpr int kLanes = EQUIPOT_VECTOR_BYTES / sizeof(S);

// `size` rounded up to a multiple of the vector width, in scalars.
template <class S>
constexpr int64_t padded(int64_t size) {
  return (size + kLanes<S> - 1) / kLanes<S> * kLanes<S>;
}

template <class S>
inline __attribute__((always_inline)) Vector<S> load(const S* from) {
  return *reinterpret_cast<const typename VectorTypes<S>::unaligned*>(from);
}

template <class S>
inline __attribute__((always_inline)) void store(S* to, Vector<S> value) {
  *reinterpret_cast<typename VectorTypes<S>::unaligned*>(to) = value;
}

// Blends two vectors: lanes whose index has bit kBit set come from b, the others from a.
// With kOtherOfA (kOtherOfB), the source lane in a (b) is the one whose index differs in
// that bit.
template <class S, int kBit, bool kOtherOfA, bool kOtherOfB, int... n>
inline __attribute__((always_inline)) Vector<S> merge(
    Vector<S> a, Vector<S> b, std::integer_sequence<int, n...>) {
#define EQUIPOT_LANE                                            \
  ((n & kBit) != 0 ? kLanes<S> + (kOtherOfB ? n ^ kBit : n) \
                   : (kOtherOfA ? n ^ kBit : n))...
#if defined(__clang__)
  return __builtin_shufflevector(a, b, EQUIPOT_LANE);
#else
  return __builtin_shuffle(a, b, typename VectorTypes<S>::indices{EQUIPOT_LANE});
#endif
#undef EQUIPOT_LANE
}

template <class S, int kBit, bool kOtherOfA, bool kOtherOfB>
inline __attribute__((always_inline)) Vector<S> merge(Vector<S> a, Vector<S> b) {
  return merge<S, kBit, kOtherOfA, kOtherOfB>(
      a, b, std::make_integer_sequence<int, kLanes<S>>{});
}

// Transposes a square matrix of kLanes vectors in place.
template <class S, int kBit = 1>
inline __attribute__((always_inline)) void transpose(Vector<S> (&rows)[kLanes<S>]) {
  if constexpr (kBit < kLanes<S>) {
    EQUIPOT_UNROLL
    for (int r = 0; r < kLanes<S>; ++r) {
      if ((r & kBit) != 0) continue;
      const Vector<S> a = rows[r], b = rows[r | kBit];
      rows[r] = merge<S, kBit, false, true>(a, b);
      rows[r | kBit] = merge<S, kBit, true, false>(a, b);
    }
    transpose<S, 2 * kBit>(rows);
  }
}

// Horizontal sums: lane n of the result is the sum over the lanes of vector n. Lanes >=
// kCount are unspecified.
template <class S, int kCount, int kBit = 1>
inline __attribute__((always_inline)) Vector<S> sums(const Vector<S> (&vectors)[kCount]) {
  if constexpr (kBit == kLanes<S>) {
    return vectors[0];
  } else {
    constexpr int kHalf = (kCount + 1) / 2;
    Vector<S> next[kHalf];
    EQUIPOT_UNROLL
    for (int n = 0; n < kHalf; ++n) {
      const Vector<S> a = vectors[2 * n], b = vectors[2 * n + (2 * n + 1 < kCount)];
      next[n] = merge<S, kBit, false, false>(a, b) + merge<S, kBit, true, true>(a, b);
    }
    return sums<S, kHalf, 2 * kBit>(next);
  }
}

// Stores the sum over the lanes of vector n to to[n], for n < kCount.
template <class S, int kCount>
inline __attribute__((always_inline)) void store_sums(S* to, const Vector<S> (&vectors)[kCount]) {
  constexpr int kNow = kCount < kLanes<S> ? kCount : kLanes<S>;
  Vector<S> now[kNow];
  EQUIPOT_UNROLL
  for (int n = 0; n < kNow; ++n) now[n] = vectors[n];
  const Vector<S> total = sums<S>(now);
  std::memcpy(to, &total, kNow * sizeof(S));
  if constexpr (kNow < kCount) {
    Vector<S> rest[kCount - kNow];
    EQUIPOT_UNROLL
    for (int n = 0; n < kCount - kNow; ++n) rest[n] = vectors[kNow + n];
    store_sums<S>(to + kNow, rest);
  }
}

}  // namespace EQUIPOT_ISA
}  // namespace equipot
