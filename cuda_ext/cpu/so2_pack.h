// Packs of SIMD vectors of channels, the arithmetic type of the edge-frame kernels.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simd.h"

#define EQUIPOT_INLINE inline __attribute__((always_inline))
// Prevents inlining: if all instances are inlined into one function, the compiler spills
// their registers.
#define EQUIPOT_NOINLINE __attribute__((noinline))

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

template <class S, int N>
struct Pack {
  Vector<S> part[N];
};

// Number of vectors that share a scalar operand: the largest for which the accumulators
// of degree 6 fit into registers.
constexpr int kPack = EQUIPOT_REGISTERS >= 32 ? 2 : 1;

template <class S, int N>
EQUIPOT_INLINE Pack<S, N> load_pack(const S* from) {
  Pack<S, N> pack;
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) pack.part[n] = load(from + n * kLanes<S>);
  return pack;
}

template <class S, int N>
EQUIPOT_INLINE void store_pack(S* to, const Pack<S, N>& pack) {
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) store(to + n * kLanes<S>, pack.part[n]);
}

template <class S, int N>
EQUIPOT_INLINE void prefetch_pack(const S* from) {
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) __builtin_prefetch(from + n * kLanes<S>);
}

template <class S, int N>
EQUIPOT_INLINE void prefetch_pack_to_write(S* to) {
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) __builtin_prefetch(to + n * kLanes<S>, 1);
}

#define EQUIPOT_PACK_OPERATOR(OPERATOR)                                          \
  template <class S, int N>                                                      \
  EQUIPOT_INLINE Pack<S, N> operator OPERATOR(const Pack<S, N>& a,               \
                                              const Pack<S, N>& b) {             \
    Pack<S, N> result;                                                           \
    EQUIPOT_UNROLL                                                               \
    for (int n = 0; n < N; ++n) result.part[n] = a.part[n] OPERATOR b.part[n];   \
    return result;                                                               \
  }
EQUIPOT_PACK_OPERATOR(+)
EQUIPOT_PACK_OPERATOR(-)
EQUIPOT_PACK_OPERATOR(*)
#undef EQUIPOT_PACK_OPERATOR

template <class S, int N>
EQUIPOT_INLINE Pack<S, N> operator*(S a, const Pack<S, N>& b) {
  Pack<S, N> result;
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) result.part[n] = a * b.part[n];
  return result;
}

template <class S, int N>
EQUIPOT_INLINE void operator+=(Pack<S, N>& a, const Pack<S, N>& b) {
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) a.part[n] += b.part[n];
}

template <class S, int N>
EQUIPOT_INLINE void operator-=(Pack<S, N>& a, const Pack<S, N>& b) {
  EQUIPOT_UNROLL
  for (int n = 0; n < N; ++n) a.part[n] -= b.part[n];
}

template <class S, int N>
EQUIPOT_INLINE void clear(Pack<S, N>* packs, int count) {
  for (int n = 0; n < count; ++n) packs[n] = Pack<S, N>{};
}

template <class S, int N>
EQUIPOT_INLINE void add_multiple(S factor, const Pack<S, N>* packs, int count,
                                 Pack<S, N>* result) {
  for (int n = 0; n < count; ++n) result[n] += factor * packs[n];
}

template <class S, int N>
EQUIPOT_INLINE S sum_of_lanes(const Pack<S, N>& pack) {
  S sum = 0;
  for (int n = 0; n < N; ++n) {
    for (int lane = 0; lane < kLanes<S>; ++lane) sum += pack.part[n][lane];
  }
  return sum;
}

// A compile-time integer.
template <int value>
using Number = std::integral_constant<int, value>;

// Calls body(Number<degree>{}). Precondition: 0 <= degree <= 6.
template <class Body>
EQUIPOT_INLINE void with_degree(int degree, const Body& body) {
  switch (degree) {
    case 0: body(Number<0>{}); break;
    case 1: body(Number<1>{}); break;
    case 2: body(Number<2>{}); break;
    case 3: body(Number<3>{}); break;
    case 4: body(Number<4>{}); break;
    case 5: body(Number<5>{}); break;
    default: body(Number<6>{});
  }
}

// Number of packs of channels per call, at least 1. It is limited so that `components`
// components of an edge in its frame fit into the L1 cache (32 KiB); several packs per
// call amortize calls and table look-ups.
template <class S>
constexpr int packs_at_once(int components) {
  constexpr int kBytes = 32 * 1024;
  const int packs = kBytes / static_cast<int>(components * sizeof(Pack<S, kPack>));
  return packs < 1 ? 1 : packs;
}

// Calls body(Number<vectors per pack>, first channel, number of packs) over all channels,
// with at most `limit` packs per call. `channels` is a multiple of the vector width.
template <class S, class Body>
EQUIPOT_INLINE void for_packs_of_channels(int64_t channels, int limit, const Body& body) {
  constexpr int64_t kWidth = kPack * kLanes<S>;
  int64_t channel = 0;
  while (channels - channel >= kWidth) {
    const int64_t left = (channels - channel) / kWidth;
    const int packs = left < limit ? static_cast<int>(left) : limit;
    body(Number<kPack>{}, channel, packs);
    channel += packs * kWidth;
  }
  if (channel < channels) body(Number<1>{}, channel, 1);
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
