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

template <class S>
inline __attribute__((always_inline)) void add(S* to, Vector<S> value) {
  store(to, load(to) + value);
}

template <class S>
void set_zero(S* to, int64_t vectors) {
  for (int64_t n = 0; n < vectors; ++n) store(to + n * kLanes<S>, Vector<S>{});
}

// One vector of channels of the rows of an array [rows, stride], one after another.
template <class S>
void gather(const S* from, int64_t rows, int64_t stride, S* to) {
  for (int64_t r = 0; r < rows; ++r) store(to + r * kLanes<S>, load(from + r * stride));
}

template <class S>
void scatter(const S* from, int64_t rows, int64_t stride, S* to) {
  for (int64_t r = 0; r < rows; ++r) store(to + r * stride, load(from + r * kLanes<S>));
}

// Scratch space: one vector of channels of every row.
template <class S>
struct Scratch {
  Scratch(const Contraction<S>& c, S* memory) {
    Parts<S> parts(memory);
    const auto take = [&](int64_t rows) { return parts.take(rows * kLanes<S>); };
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

// Evaluates the stored monomials from the first `components` ones.
template <class S>
void make_monomials(const Contraction<S>& c, S* mu) {
  for (int64_t m = c.components; m < c.num_stored; ++m) {
    store(mu + m * kLanes<S>, load(mu + c.parents[m] * kLanes<S>) *
                                  load(mu + c.factors[m] * kLanes<S>));
  }
}

// Their tangents; the first `components` monomials are the features, of tangent dot.
template <class S>
void make_tangents(const Contraction<S>& c, const S* mu, S* dot) {
  for (int64_t m = c.components; m < c.num_stored; ++m) {
    const int64_t p = c.parents[m] * kLanes<S>, f = c.factors[m] * kLanes<S>;
    store(dot + m * kLanes<S>,
          load(dot + p) * load(mu + f) + load(mu + p) * load(dot + f));
  }
}

template <class S>
void contract(const Contraction<S>& c, const S* a, const Scratch<S>& s) {
  set_zero(s.sum, c.num_outputs);
  for (int64_t m = 0; m < c.num_monomials; ++m) {
    const Vector<S> mu = m < c.num_stored
                             ? load(s.mu + m * kLanes<S>)
                             : load(s.mu + c.parents[m] * kLanes<S>) *
                                   load(s.mu + c.factors[m] * kLanes<S>);
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      add(s.sum + c.outputs[t] * kLanes<S>, load(a + t * c.stride) * mu);
    }
  }
}

template <class S, bool kOfA>
void backward(const Contraction<S>& c, const S* a, S* a_bar, const Scratch<S>& s) {
  set_zero(s.mu_bar, c.num_stored);
  set_zero(s.x_bar, c.components);
  for (int64_t m = c.num_monomials - 1; m >= 0; --m) {
    const bool stored = m < c.num_stored, is_component = m < c.components;
    const int64_t p = is_component ? 0 : c.parents[m] * kLanes<S>;
    const int64_t f = is_component ? 0 : c.factors[m] * kLanes<S>;
    const Vector<S> parent = load(s.mu + p), factor = load(s.mu + f);
    const Vector<S> mu = stored ? load(s.mu + m * kLanes<S>) : parent * factor;
    Vector<S> bar = stored ? load(s.mu_bar + m * kLanes<S>) : Vector<S>{};
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      const Vector<S> g = load(s.g + c.outputs[t] * kLanes<S>);
      bar += g * load(a + t * c.stride);
      if constexpr (kOfA) add(a_bar + t * c.stride, g * mu);
    }
    if (is_component) {
      add(s.x_bar + m * kLanes<S>, bar);
    } else {
      add(s.x_bar + f, bar * parent);
      add(s.mu_bar + p, bar * factor);
    }
  }
}

template <class S, bool kTangentOfA>
void double_backward(const Contraction<S>& c, const S* a, const S* a_dot, S* a_bar,
                     const Scratch<S>& s) {
  set_zero(s.mu_bar, c.num_stored);
  set_zero(s.dot_bar, c.num_stored);
  set_zero(s.x_bar, c.components);
  set_zero(s.sum, c.num_outputs);
  for (int64_t m = c.num_monomials - 1; m >= 0; --m) {
    const bool stored = m < c.num_stored, is_component = m < c.components;
    const int64_t p = is_component ? 0 : c.parents[m] * kLanes<S>;
    const int64_t f = is_component ? 0 : c.factors[m] * kLanes<S>;
    const Vector<S> parent = load(s.mu + p), factor = load(s.mu + f);
    const Vector<S> parent_dot = load(s.dot + p), factor_dot = load(s.dot + f);
    const Vector<S> mu = stored ? load(s.mu + m * kLanes<S>) : parent * factor;
    const Vector<S> dot = stored ? load(s.dot + m * kLanes<S>)
                                 : parent_dot * factor + parent * factor_dot;
    Vector<S> bar = stored ? load(s.mu_bar + m * kLanes<S>) : Vector<S>{};
    Vector<S> dot_bar = stored ? load(s.dot_bar + m * kLanes<S>) : Vector<S>{};
    for (int64_t t = c.first_term[m]; t < c.first_term[m + 1]; ++t) {
      const int64_t k = c.outputs[t] * kLanes<S>;
      const Vector<S> g = load(s.g + k), coefficient = load(a + t * c.stride);
      dot_bar += g * coefficient;
      Vector<S> sum = coefficient * dot;
      if constexpr (kTangentOfA) {
        const Vector<S> tangent = load(a_dot + t * c.stride);
        bar += g * tangent;
        sum += tangent * mu;
      }
      add(s.sum + k, sum);
      add(a_bar + t * c.stride, g * dot);
    }
    if (is_component) {
      add(s.x_bar + m * kLanes<S>, bar);
    } else {
      add(s.x_bar + f, dot_bar * parent_dot + bar * parent);
      add(s.mu_bar + p, dot_bar * factor_dot + bar * factor);
      add(s.dot_bar + p, dot_bar * factor);
    }
  }
}

}  // namespace

template <class S>
int64_t contraction_stride(int64_t channels) {
  return padded<S>(channels);
}

template <class S>
int64_t contraction_scratch(const Contraction<S>& c) {
  return Scratch<S>(c, nullptr).size;
}

template <class S>
void contraction(const Contraction<S>& c, const int64_t* order, int64_t first,
                 int64_t last, int64_t row, int64_t vector, S* scratch) {
  const Scratch<S> s(c, scratch);
  const int64_t channel = vector * kLanes<S>;
  const int64_t of_row = row * c.num_terms * c.stride + channel;
  for (int64_t n = first; n < last; ++n) {
    const int64_t of_x = order[n] * c.components * c.stride + channel;
    const int64_t of_out = order[n] * c.num_outputs * c.stride + channel;
    gather(c.x + of_x, c.components, c.stride, s.mu);
    make_monomials(c, s.mu);
    if (c.out != nullptr) {
      contract(c, c.a + of_row, s);
      scatter(s.sum, c.num_outputs, c.stride, c.out + of_out);
      continue;
    }
    gather(c.g + of_out, c.num_outputs, c.stride, s.g);
    if (c.x_dot == nullptr) {
      if (c.a_bar == nullptr) {
        backward<S, false>(c, c.a + of_row, nullptr, s);
      } else {
        backward<S, true>(c, c.a + of_row, c.a_bar + of_row, s);
      }
    } else {
      gather(c.x_dot + of_x, c.components, c.stride, s.dot);
      make_tangents(c, s.mu, s.dot);
      if (c.a_dot == nullptr) {
        double_backward<S, false>(c, c.a + of_row, nullptr, c.a_bar + of_row, s);
      } else {
        double_backward<S, true>(c, c.a + of_row, c.a_dot + of_row, c.a_bar + of_row, s);
      }
      scatter(s.sum, c.num_outputs, c.stride, c.g_bar + of_out);
    }
    scatter(s.x_bar, c.components, c.stride, c.x_bar + of_x);
  }
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
