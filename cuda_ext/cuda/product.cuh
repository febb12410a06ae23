// Tensor products whose couplings are known at compile time.
#pragma once

#include <cstdint>
#include <utility>

#include "device.cuh"

namespace equipot {

EQUIPOT_CONSTEXPR int num_orders(int degree) { return 2 * degree + 1; }
EQUIPOT_CONSTEXPR int magnitude(int n) { return n < 0 ? -n : n; }

// The smallest power of two that is at least n.
EQUIPOT_CONSTEXPR int power_of_two_from(int n) {
  int power = 1;
  while (power < n) power *= 2;
  return power;
}

// One coupling: degrees of the features, of the filter and of the messages.
struct Path {
  int l_in;
  int l_filter;
  int l_out;

  // Number of elements of its edge matrix.
  EQUIPOT_CONSTEXPR int rows() const { return num_orders(l_in) * num_orders(l_out); }
};

// Harmonics that couple component i of degree l_in with component k of degree l_out.
struct Harmonics {
  int count;
  int columns[2];
};

// Selection rules of real harmonics: |m2| equals | |m1| - |m3| | or |m1| + |m3|, and
// the number of sines (m < 0) among the three has the parity of the sum of degrees.
EQUIPOT_CONSTEXPR Harmonics coupled_harmonics(Path path, int i, int k) {
  const int m_in = i - path.l_in, m_out = k - path.l_out;
  const bool odd = (path.l_in + path.l_filter + path.l_out) % 2 == 1;
  const bool sine = ((m_in < 0) != (m_out < 0)) != odd;
  const int orders[] = {
      magnitude(magnitude(m_in) - magnitude(m_out)), magnitude(m_in) + magnitude(m_out)};
  Harmonics found{0, {0, 0}};
  for (int n = 0; n < (orders[0] < orders[1] ? 2 : 1); ++n) {
    if (orders[n] <= path.l_filter && !(orders[n] == 0 && sine)) {
      const int m = sine ? -orders[n] : orders[n];
      found.columns[found.count++] = path.l_filter * path.l_filter + path.l_filter + m;
    }
  }
  return found;
}

EQUIPOT_CONSTEXPR int num_coefficients(Path path) {
  int count = 0;
  for (int i = 0; i < num_orders(path.l_in); ++i) {
    for (int k = 0; k < num_orders(path.l_out); ++k) {
      count += coupled_harmonics(path, i, k).count;
    }
  }
  return count;
}

// All couplings of degrees up to the given maxima, in the order of
// TensorProductSpec.paths, summed per degree of the messages. Couplings with an odd sum
// of degrees are included only if kOddSums.
template <int kLIn, int kLFilter, int kLOut, bool kOddSums>
struct Product {
  static constexpr int kInputs = (kLIn + 1) * (kLIn + 1);
  static constexpr int kHarmonics = (kLFilter + 1) * (kLFilter + 1);
  static constexpr int kOutputs = (kLOut + 1) * (kLOut + 1);

  EQUIPOT_CONSTEXPR static bool couples(Path path) {
    const bool triangle = magnitude(path.l_in - path.l_filter) <= path.l_out &&
                          path.l_out <= path.l_in + path.l_filter;
    return triangle &&
           (kOddSums || (path.l_in + path.l_filter + path.l_out) % 2 == 0);
  }

  EQUIPOT_CONSTEXPR static int num_paths() { return find(-1).l_in; }
  EQUIPOT_CONSTEXPR static Path path(int index) { return find(index); }

  // Total number of elements of the edge matrices of all paths.
  EQUIPOT_CONSTEXPR static int num_rows() {
    int count = 0;
    for (int n = 0; n < num_paths(); ++n) count += path(n).rows();
    return count;
  }

 private:
  // Path `index`; if the index is out of range, the number of paths as member l_in.
  EQUIPOT_CONSTEXPR static Path find(int index) {
    int count = 0;
    for (int l_out = 0; l_out <= kLOut; ++l_out) {
      for (int l_in = 0; l_in <= kLIn; ++l_in) {
        for (int l_filter = 0; l_filter <= kLFilter; ++l_filter) {
          const Path path{l_in, l_filter, l_out};
          if (couples(path) && count++ == index) return path;
        }
      }
    }
    return Path{count, 0, 0};
  }
};

template <class Body, int... kIndices>
__device__ inline void unroll(Body&& body, std::integer_sequence<int, kIndices...>) {
  (body(std::integral_constant<int, kIndices>{}), ...);
}

// Calls body(std::integral_constant<int, n>) for n = 0 ... kCount - 1.
template <int kCount, class Body>
__device__ inline void unroll(Body&& body) {
  unroll(body, std::make_integer_sequence<int, kCount>{});
}

}  // namespace equipot
