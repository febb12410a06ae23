// Tables of monomials and terms of a contraction, and their validation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../checks.h"

namespace equipot {

// Monomials and terms; see Monomials of equipot/ops/contraction.py.
struct Monomials {
  const std::vector<int64_t>& sizes;
  const Tensor &parents, &factors, &monomials, &outputs;
};

inline void check_indices(const Tensor& tensor, const char* name, int64_t size,
                          const char* meaning) {
  check_tensor(tensor, name, ScalarType::Long, kCpu);
  check_shape(tensor, name, {size}, meaning);
}

// Checks that values are from 0 to limit - 1.
inline void check_range(const Tensor& tensor, const char* name, int64_t limit) {
  const int64_t* values = data<int64_t>(tensor);
  for (int64_t n = 0; n < tensor.size(0); ++n) {
    EQUIPOT_CHECK(0 <= values[n] && values[n] < limit, name, " must be in 0 to ",
                  limit - 1, ", got ", values[n], " at ", n);
  }
}

// Checks the table; returns the number of monomials.
inline int64_t check_monomials(const Monomials& table, int64_t components,
                               int64_t num_outputs) {
  EQUIPOT_CHECK(!table.sizes.empty() && table.sizes[0] == components,
                "sizes must start with the number of components, ", components);
  int64_t total = 0;
  for (const int64_t size : table.sizes) {
    EQUIPOT_CHECK(size >= 0, "sizes must not be negative, got ", size);
    total += size;
  }
  check_indices(table.parents, "parents", total, "(monomials,)");
  check_indices(table.factors, "factors", total, "(monomials,)");
  check_range(table.factors, "factors", components);
  const int64_t* parents = data<int64_t>(table.parents);
  for (int64_t level = 1, below = 0, here = components;
       level < static_cast<int64_t>(table.sizes.size()); ++level) {
    for (int64_t m = here; m < here + table.sizes[level]; ++m) {
      EQUIPOT_CHECK(below <= parents[m] && parents[m] < here, "the parent of monomial ", m,
                    " must have one factor less, got ", parents[m]);
    }
    below = here;
    here += table.sizes[level];
  }
  check_indices(table.monomials, "monomials", -1, "(terms,)");
  check_indices(table.outputs, "outputs", table.monomials.size(0), "(terms,)");
  check_range(table.monomials, "monomials", total);
  check_range(table.outputs, "outputs", num_outputs);
  const int64_t* monomials = data<int64_t>(table.monomials);
  EQUIPOT_CHECK(std::is_sorted(monomials, monomials + table.monomials.size(0)),
                "monomials must ascend");
  return total;
}

// First term of each monomial, and the number of terms.
inline std::vector<int64_t> first_terms(const Monomials& table) {
  const int64_t total = table.parents.size(0), terms = table.monomials.size(0);
  const int64_t* monomials = data<int64_t>(table.monomials);
  std::vector<int64_t> first(total + 1);
  for (int64_t m = 0; m <= total; ++m) {
    first[m] = std::lower_bound(monomials, monomials + terms, m) - monomials;
  }
  return first;
}

}  // namespace equipot
