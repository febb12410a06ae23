// Contraction by monomials and its derivatives, with SIMD over channels.
//
// A monomial is its parent times one component. Monomials that can be parents are stored;
// those of most factors, most of all, are used at once. Derivatives run through the
// monomials in reverse.
#include "contraction.h"
#include "padding.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Nodes that are evaluated together, so that tables and coefficients are read once.
constexpr int kMostNodes = 4;

// One vector of channels of each of kNodes nodes.
template <class S, int kNodes>
struct Block {
  Vector<S> of[kNodes];

  static inline __attribute__((always_inline)) Block at(const S* from) {
    Block b;
    EQUIPOT_UNROLL
    for (int n = 0; n < kNodes; ++n) b.of[n] = load(from + n * kLanes<S>);
    return b;
  }
  inline __attribute__((always_inline)) void write(S* to) const {
    EQUIPOT_UNROLL
    for (int n = 0; n < kNodes; ++n) store(to + n * kLanes<S>, of[n]);
  }
  inline __attribute__((always_inline)) void add_to(S* to) const {
    EQUIPOT_UNROLL
    for (int n = 0; n < kNodes; ++n) {
      store(to + n * kLanes<S>, load(to + n * kLanes<S>) + of[n]);
    }
  }
  inline __attribute__((always_inline)) Vector<S> sum() const {
    Vector<S> total = of[0];
    EQUIPOT_UNROLL
    for (int n = 1; n < kNodes; ++n) total += of[n];
    return total;
  }
};

template <class S, int kNodes>
inline __attribute__((always_inline)) Block<S, kNodes> operator*(
    const Block<S, kNodes>& a, const Block<S, kNodes>& b) {
  Block<S, kNodes> out;
  EQUIPOT_UNROLL
  for (int n = 0; n < kNodes; ++n) out.of[n] = a.of[n] * b.of[n];
  return out;
}

template <class S, int kNodes>
inline __attribute__((always_inline)) Block<S, kNodes> operator*(
    Vector<S> a, const Block<S, kNodes>& b) {
  Block<S, kNodes> out;
  EQUIPOT_UNROLL
  for (int n = 0; n < kNodes; ++n) out.of[n] = a * b.of[n];
  return out;
}

template <class S, int kNodes>
inline __attribute__((always_inline)) Block<S, kNodes> operator+(
    const Block<S, kNodes>& a, const Block<S, kNodes>& b) {
  Block<S, kNodes> out;
  EQUIPOT_UNROLL
  for (int n = 0; n < kNodes; ++n) out.of[n] = a.of[n] + b.of[n];
  return out;
}

template <class S>
void set_zero(S* to, int64_t vectors) {
  for (int64_t n = 0; n < vectors; ++n) store(to + n * kLanes<S>, Vector<S>{});
}

// Scratch space: one vector of channels of every row, of each node.
template <class S, int kNodes>
struct Scratch {
  static constexpr int64_t kRow = kNodes * kLanes<S>;

  Scratch(const Contraction<S>& c, S* memory) {
    Parts<S> parts(memory);
    const auto take = [&](int64_t rows) { return parts.take(rows * kRow); };
    mu = take(c.num_stored), mu_bar = take(c.num_stored);
    dot = take(c.num_stored), dot_bar = take(c.num_stored);
    g = take(c.num_outputs), sum = take(c.num_outputs), x_bar = take(c.components);
    size = parts.size();
  }
  S *mu, *mu_bar;    // monomials; derivatives with respect to them
  S *dot, *dot_bar;  // their tangents; derivatives with respect to these
  S *g, *sum, *x_bar;
  int64_t size;
};

// One vector of channels of the rows of arrays [rows, stride] of kNodes nodes.
template <class S, int kNodes>
void gather(const S* const (&from)[kNodes], int64_t rows, int64_t stride, S* to) {
  for (int64_t r = 0; r < rows; ++r) {
    EQUIPOT_UNROLL
    for (int n = 0; n < kNodes; ++n, to += kLanes<S>) store(to, load(from[n] + r * stride));
  }
}

template <class S, int kNodes>
void scatter(const S* from, int64_t rows, int64_t stride, S* const (&to)[kNodes]) {
  for (int64_t r = 0; r < rows; ++r) {
    EQUIPOT_UNROLL
    for (int n = 0; n < kNodes; ++n, from += kLanes<S>) store(to[n] + r * stride, load(from));
  }
}

// Evaluates the stored monomials from the first `components` ones.
template <class S, int kNodes>
void make_monomials(const Contraction<S>& c, S* mu) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  for (int64_t m = c.components; m < c.num_stored; ++m) {
    (B::at(mu + c.parents[m] * kRow) * B::at(mu + c.factors[m] * kRow)).write(mu + m * kRow);
  }
}

// Their tangents; the first `components` monomials are the features, of tangent dot.
template <class S, int kNodes>
void make_tangents(const Contraction<S>& c, const S* mu, S* dot) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  for (int64_t m = c.components; m < c.num_stored; ++m) {
    const int64_t p = c.parents[m] * kRow, f = c.factors[m] * kRow;
    (B::at(dot + p) * B::at(mu + f) + B::at(mu + p) * B::at(dot + f)).write(dot + m * kRow);
  }
}

template <class S, int kNodes>
void contract(const Contraction<S>& c, const S* a, const Scratch<S, kNodes>& s) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  set_zero(s.sum, c.num_outputs * kNodes);
  for (int64_t m = 0; m < c.num_monomials; ++m) {
    const B mu = m < c.num_stored
                     ? B::at(s.mu + m * kRow)
                     : B::at(s.mu + c.parents[m] * kRow) * B::at(s.mu + c.factors[m] * kRow);
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      (load(a + t * c.stride) * mu).add_to(s.sum + c.outputs[t] * kRow);
    }
  }
}

template <class S, int kNodes, bool kOfA>
void backward(const Contraction<S>& c, const S* a, S* a_bar, const Scratch<S, kNodes>& s) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  set_zero(s.mu_bar, c.num_stored * kNodes);
  set_zero(s.x_bar, c.components * kNodes);
  for (int64_t m = c.num_monomials - 1; m >= 0; --m) {
    const bool stored = m < c.num_stored, is_component = m < c.components;
    const int64_t p = is_component ? 0 : c.parents[m] * kRow;
    const int64_t f = is_component ? 0 : c.factors[m] * kRow;
    const B parent = B::at(s.mu + p), factor = B::at(s.mu + f);
    const B mu = stored ? B::at(s.mu + m * kRow) : parent * factor;
    B bar = stored ? B::at(s.mu_bar + m * kRow) : B{};
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      const B g = B::at(s.g + c.outputs[t] * kRow);
      bar = bar + load(a + t * c.stride) * g;
      if constexpr (kOfA) {
        S* to = a_bar + t * c.stride;
        store(to, load(to) + (g * mu).sum());
      }
    }
    if (is_component) {
      bar.add_to(s.x_bar + m * kRow);
    } else {
      (bar * parent).add_to(s.x_bar + f);
      (bar * factor).add_to(s.mu_bar + p);
    }
  }
}

template <class S, int kNodes, bool kTangentOfA>
void double_backward(const Contraction<S>& c, const S* a, const S* a_dot, S* a_bar,
                     const Scratch<S, kNodes>& s) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  set_zero(s.mu_bar, c.num_stored * kNodes);
  set_zero(s.dot_bar, c.num_stored * kNodes);
  set_zero(s.x_bar, c.components * kNodes);
  set_zero(s.sum, c.num_outputs * kNodes);
  for (int64_t m = c.num_monomials - 1; m >= 0; --m) {
    const bool stored = m < c.num_stored, is_component = m < c.components;
    const int64_t p = is_component ? 0 : c.parents[m] * kRow;
    const int64_t f = is_component ? 0 : c.factors[m] * kRow;
    const B parent = B::at(s.mu + p), factor = B::at(s.mu + f);
    const B parent_dot = B::at(s.dot + p), factor_dot = B::at(s.dot + f);
    const B mu = stored ? B::at(s.mu + m * kRow) : parent * factor;
    const B dot = stored ? B::at(s.dot + m * kRow)
                         : parent_dot * factor + parent * factor_dot;
    B bar = stored ? B::at(s.mu_bar + m * kRow) : B{};
    B dot_bar = stored ? B::at(s.dot_bar + m * kRow) : B{};
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      const int64_t k = c.outputs[t] * kRow;
      const Vector<S> coefficient = load(a + t * c.stride);
      const B g = B::at(s.g + k);
      dot_bar = dot_bar + coefficient * g;
      B sum = coefficient * dot;
      if constexpr (kTangentOfA) {
        const Vector<S> tangent = load(a_dot + t * c.stride);
        bar = bar + tangent * g;
        sum = sum + tangent * mu;
      }
      sum.add_to(s.sum + k);
      S* to = a_bar + t * c.stride;
      store(to, load(to) + (g * dot).sum());
    }
    if (is_component) {
      bar.add_to(s.x_bar + m * kRow);
    } else {
      (dot_bar * parent_dot + bar * parent).add_to(s.x_bar + f);
      (dot_bar * factor_dot + bar * factor).add_to(s.mu_bar + p);
      (dot_bar * factor).add_to(s.dot_bar + p);
    }
  }
}

// Tangent of the result at constant coefficients.
template <class S, int kNodes>
void contract_tangents(const Contraction<S>& c, const S* a, const Scratch<S, kNodes>& s) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  set_zero(s.sum, c.num_outputs * kNodes);
  for (int64_t m = 0; m < c.num_monomials; ++m) {
    const int64_t p = m < c.num_stored ? 0 : c.parents[m] * kRow;
    const int64_t f = m < c.num_stored ? 0 : c.factors[m] * kRow;
    const B dot = m < c.num_stored ? B::at(s.dot + m * kRow)
                                   : B::at(s.dot + p) * B::at(s.mu + f) +
                                         B::at(s.mu + p) * B::at(s.dot + f);
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      (load(a + t * c.stride) * dot).add_to(s.sum + c.outputs[t] * kRow);
    }
  }
}

// Tangent of the gradient with respect to the features at constant coefficients; the
// tangent of g is in `sum`, those of the gradients of monomials are in `dot_bar`.
template <class S, int kNodes>
void backward_tangents(const Contraction<S>& c, const S* a, const Scratch<S, kNodes>& s) {
  using B = Block<S, kNodes>;
  constexpr int64_t kRow = Scratch<S, kNodes>::kRow;
  set_zero(s.mu_bar, c.num_stored * kNodes);
  set_zero(s.dot_bar, c.num_stored * kNodes);
  set_zero(s.x_bar, c.components * kNodes);
  for (int64_t m = c.num_monomials - 1; m >= 0; --m) {
    const bool stored = m < c.num_stored;
    B bar = stored ? B::at(s.mu_bar + m * kRow) : B{};
    B bar_dot = stored ? B::at(s.dot_bar + m * kRow) : B{};
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      const int64_t k = c.outputs[t] * kRow;
      const Vector<S> coefficient = load(a + t * c.stride);
      bar = bar + coefficient * B::at(s.g + k);
      bar_dot = bar_dot + coefficient * B::at(s.sum + k);
    }
    if (m < c.components) {
      bar_dot.add_to(s.x_bar + m * kRow);
      continue;
    }
    const int64_t p = c.parents[m] * kRow, f = c.factors[m] * kRow;
    const B factor = B::at(s.mu + f);
    (bar_dot * B::at(s.mu + p) + bar * B::at(s.dot + p)).add_to(s.x_bar + f);
    (bar_dot * factor + bar * B::at(s.dot + f)).add_to(s.dot_bar + p);
    (bar * factor).add_to(s.mu_bar + p);
  }
}

// Results of kNodes nodes.
template <class S, int kNodes>
void contraction_of(const Contraction<S>& c, const int64_t* nodes, int64_t row,
                    int64_t channel, S* scratch) {
  const Scratch<S, kNodes> s(c, scratch);
  const int64_t of_row = row * c.num_terms * c.stride + channel;
  const auto at = [&](auto* array, int64_t rows, auto& places) {
    for (int n = 0; n < kNodes; ++n) places[n] = array + nodes[n] * rows * c.stride + channel;
  };
  const S* from[kNodes];
  S* to[kNodes];
  at(c.x, c.components, from);
  gather<S, kNodes>(from, c.components, c.stride, s.mu);
  make_monomials<S, kNodes>(c, s.mu);
  if (c.x_dot != nullptr) {
    at(c.x_dot, c.components, from);
    gather<S, kNodes>(from, c.components, c.stride, s.dot);
    make_tangents<S, kNodes>(c, s.mu, s.dot);
  }
  if (c.out != nullptr) {
    if (c.x_dot == nullptr) {
      contract<S, kNodes>(c, c.a + of_row, s);
    } else {
      contract_tangents<S, kNodes>(c, c.a + of_row, s);
    }
    at(c.out, c.num_outputs, to);
    scatter<S, kNodes>(s.sum, c.num_outputs, c.stride, to);
    return;
  }
  at(c.g, c.num_outputs, from);
  gather<S, kNodes>(from, c.num_outputs, c.stride, s.g);
  if (c.g_dot != nullptr) {
    at(c.g_dot, c.num_outputs, from);
    gather<S, kNodes>(from, c.num_outputs, c.stride, s.sum);
    backward_tangents<S, kNodes>(c, c.a + of_row, s);
  } else if (c.x_dot == nullptr) {
    if (c.a_bar == nullptr) {
      backward<S, kNodes, false>(c, c.a + of_row, nullptr, s);
    } else {
      backward<S, kNodes, true>(c, c.a + of_row, c.a_bar + of_row, s);
    }
  } else {
    if (c.a_dot == nullptr) {
      double_backward<S, kNodes, false>(c, c.a + of_row, nullptr, c.a_bar + of_row, s);
    } else {
      double_backward<S, kNodes, true>(c, c.a + of_row, c.a_dot + of_row, c.a_bar + of_row,
                                       s);
    }
    at(c.g_bar, c.num_outputs, to);
    scatter<S, kNodes>(s.sum, c.num_outputs, c.stride, to);
  }
  at(c.x_bar, c.components, to);
  scatter<S, kNodes>(s.x_bar, c.components, c.stride, to);
}

}  // namespace

template <class S>
int64_t contraction_stride(int64_t channels) {
  return padded<S>(channels);
}

template <class S>
int64_t contraction_scratch(const Contraction<S>& c) {
  return Scratch<S, kMostNodes>(c, nullptr).size;
}

template <class S>
void contraction(const Contraction<S>& c, const int64_t* order, int64_t first,
                 int64_t last, int64_t row, int64_t vector, S* scratch) {
  const int64_t channel = vector * kLanes<S>;
  int64_t n = first;
  for (; n + kMostNodes <= last; n += kMostNodes) {
    contraction_of<S, kMostNodes>(c, order + n, row, channel, scratch);
  }
  for (; n < last; ++n) contraction_of<S, 1>(c, order + n, row, channel, scratch);
}

#define EQUIPOT_INSTANTIATE(S)                                                        \
  template int64_t contraction_stride<S>(int64_t);                                    \
  template int64_t contraction_scratch(const Contraction<S>&);                        \
  template void contraction(const Contraction<S>&, const int64_t*, int64_t, int64_t, \
                            int64_t, int64_t, S*);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
