// Kernels of programs, with SIMD over channels.
#include "program.h"
#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Vectors of a panel, a group of columns of a matrix that are stored together, and rows of
// a tile: its accumulators and one row of a panel fit into the registers.
constexpr int kPanelVectors = 2;
constexpr int kTile = EQUIPOT_REGISTERS == 32 ? 12 : 6;

template <class S>
constexpr int64_t kPanel = kPanelVectors * kLanes<S>;

template <class S>
inline __attribute__((always_inline)) Vector<S> broadcast(S value) {
  return Vector<S>{} + value;
}

template <class S>
inline S sum_of(Vector<S> values) {
  S total = 0;
  for (int n = 0; n < kLanes<S>; ++n) total += values[n];
  return total;
}

// One tile of the result: kTile rows, one panel of columns of which `vectors` are stored.
template <class S>
void tile(const Linear<S>& m, const S* const* in, S* const* out, int rows, int64_t column,
          const S* panel, int vectors) {
  Vector<S> sum[kTile][kPanelVectors];
  EQUIPOT_UNROLL
  for (int r = 0; r < kTile; ++r) {
    EQUIPOT_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) sum[r][v] = Vector<S>{};
  }
  for (int64_t part = 0; part < m.in_parts; ++part) {
    const int64_t offset = part * m.in_part_stride;
    for (int64_t k = 0; k < m.depth; ++k, panel += kPanel<S>) {
      Vector<S> b[kPanelVectors];
      EQUIPOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) b[v] = load(panel + v * kLanes<S>);
      EQUIPOT_UNROLL
      for (int r = 0; r < kTile; ++r) {
        const S a = in[r][offset + k];
        EQUIPOT_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) sum[r][v] += a * b[v];
      }
    }
  }
  EQUIPOT_UNROLL
  for (int r = 0; r < kTile; ++r) {
    if (r >= rows) break;
    EQUIPOT_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      if (v >= vectors) break;
      S* to = out[r] + column + v * kLanes<S>;
      store(to, m.add ? load(to) + sum[r][v] : sum[r][v]);
    }
  }
}

// Weights of the six B-splines that are not zero in an interval, and their first and
// second derivatives with respect to t, at t in 0 to 1.
struct Basis {
  double values[6], slopes[6], curvatures[6];
};

Basis basis_at(double t) {
  const double s = 1 - t, t2 = t * t, t3 = t2 * t, t4 = t2 * t2, t5 = t4 * t;
  const double s4 = s * s * s * s;
  Basis b;
  b.values[0] = s4 * s / 120;
  b.values[1] = (5 * t5 - 20 * t4 + 20 * t3 + 20 * t2 - 50 * t + 26) / 120;
  b.values[2] = (-10 * t5 + 30 * t4 - 60 * t2 + 66) / 120;
  b.values[3] = (10 * t5 - 20 * t4 - 20 * t3 + 20 * t2 + 50 * t + 26) / 120;
  b.values[4] = (-5 * t5 + 5 * t4 + 10 * t3 + 10 * t2 + 5 * t + 1) / 120;
  b.values[5] = t5 / 120;
  b.slopes[0] = -s4 / 24;
  b.slopes[1] = (25 * t4 - 80 * t3 + 60 * t2 + 40 * t - 50) / 120;
  b.slopes[2] = (-50 * t4 + 120 * t3 - 120 * t) / 120;
  b.slopes[3] = (50 * t4 - 80 * t3 - 60 * t2 + 40 * t + 50) / 120;
  b.slopes[4] = (-25 * t4 + 20 * t3 + 30 * t2 + 20 * t + 5) / 120;
  b.slopes[5] = t4 / 24;
  b.curvatures[0] = s * s * s / 6;
  b.curvatures[1] = (100 * t3 - 240 * t2 + 120 * t + 40) / 120;
  b.curvatures[2] = (-200 * t3 + 360 * t2 - 120) / 120;
  b.curvatures[3] = (200 * t3 - 240 * t2 - 120 * t + 40) / 120;
  b.curvatures[4] = (-100 * t3 + 60 * t2 + 60 * t + 20) / 120;
  b.curvatures[5] = t3 / 6;
  return b;
}

// Values and the first kOrder derivatives.
template <class S, int kOrder>
void spline_at(const Spline<S>& f, const S* table, double length, S* values, S* slopes,
               S* curvatures) {
  int64_t n = 0;
  while (n < f.num_segments && length >= f.segments[n].stop) ++n;
  if (n == f.num_segments) {
    for (int64_t c = 0; c < f.columns; c += kLanes<S>) {
      store(values + c, Vector<S>{});
      if constexpr (kOrder >= 1) store(slopes + c, Vector<S>{});
      if constexpr (kOrder >= 2) store(curvatures + c, Vector<S>{});
    }
    return;
  }
  const Segment& segment = f.segments[n];
  const double scale = segment.intervals_per_length;
  const double x = (length - segment.start) * scale;
  int64_t interval = static_cast<int64_t>(x);
  if (interval >= segment.intervals) interval = segment.intervals - 1;
  const Basis basis = basis_at(x - static_cast<double>(interval));
  S b[6], db[6], ddb[6];
  for (int i = 0; i < 6; ++i) {
    b[i] = static_cast<S>(basis.values[i]);
    db[i] = static_cast<S>(basis.slopes[i] * scale);
    ddb[i] = static_cast<S>(basis.curvatures[i] * scale * scale);
  }
  const S* rows = table + (segment.row + interval) * f.columns;
  for (int64_t c = 0; c < f.columns; c += kLanes<S>) {
    Vector<S> value{}, slope{}, curvature{};
    EQUIPOT_UNROLL
    for (int i = 0; i < 6; ++i) {
      const Vector<S> row = load(rows + i * f.columns + c);
      value += b[i] * row;
      if constexpr (kOrder >= 1) slope += db[i] * row;
      if constexpr (kOrder >= 2) curvature += ddb[i] * row;
    }
    store(values + c, value);
    if constexpr (kOrder >= 1) store(slopes + c, slope);
    if constexpr (kOrder >= 2) store(curvatures + c, curvature);
  }
}

template <class S, int kOrder>
void splines_at(const Spline<S>& f, const Edges& edges, int64_t first, int64_t last,
                S* values, S* slopes, S* curvatures) {
  for (int64_t e = first; e < last; ++e) {
    int64_t table = 0;
    if (f.table_of_pair != nullptr) {
      table = f.table_of_pair[edges.elements[edges.senders[e]] * f.num_elements +
                              edges.elements[edges.receivers[e]]];
    }
    const int64_t at = (e - first) * f.columns;
    spline_at<S, kOrder>(f, f.coefficients + table * f.rows * f.columns, edges.lengths[e],
                         values + at, kOrder >= 1 ? slopes + at : nullptr,
                         kOrder >= 2 ? curvatures + at : nullptr);
  }
}

// Sum of weights * x^2.
template <class S>
S weighted_square(const S* weights, const S* x, int64_t width) {
  Vector<S> sum{};
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    sum += load(weights + n) * load(x + n) * load(x + n);
  }
  return sum_of<S>(sum);
}

// Subtracts the mean where weights, all equal there, are not zero.
template <class S>
void center(const S* weights, const S* x, int64_t width, S* out) {
  Vector<S> sum{};
  for (int64_t n = 0; n < width; n += kLanes<S>) sum += load(weights + n) * load(x + n);
  const S scale = sum_of<S>(sum) / weights[0];
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    store(out + n, load(x + n) - scale * load(weights + n));
  }
}

// Constants of the exponential of a type: bias and position of the exponent in its bits.
template <class S>
struct Exponential;
template <>
struct Exponential<float> {
  using Integer = int32_t;
  static constexpr int kMantissa = 23, kBias = 127, kDegree = 7;
  static constexpr float kLimit = 87, kRound = 12582912;  // 1.5 * 2^23
  static constexpr float kHigh = 0.693359375F, kLow = -2.12194440e-4F;
};
template <>
struct Exponential<double> {
  using Integer = int64_t;
  static constexpr int kMantissa = 52, kBias = 1023, kDegree = 13;
  static constexpr double kLimit = 708, kRound = 6755399441055744;  // 1.5 * 2^52
  static constexpr double kHigh = 6.93145751953125e-1, kLow = 1.42860682030941723212e-6;
};

// Exponential with a relative error of about one unit in the last place; arguments are
// limited to the range of normal numbers.
template <class S>
inline Vector<S> exponential(Vector<S> x) {
  using E = Exponential<S>;
  typedef typename E::Integer Integers __attribute__((vector_size(EQUIPOT_VECTOR_BYTES)));
  x = x > E::kLimit ? broadcast<S>(E::kLimit) : x;
  x = x < -E::kLimit ? broadcast<S>(-E::kLimit) : x;
  const Vector<S> shifted = x * static_cast<S>(1.44269504088896341) + E::kRound;
  const Vector<S> n = shifted - E::kRound;
  const Vector<S> r = (x - n * E::kHigh) - n * E::kLow;
  S factor[E::kDegree + 1];
  factor[0] = 1;
  for (int k = 1; k <= E::kDegree; ++k) factor[k] = factor[k - 1] / static_cast<S>(k);
  Vector<S> sum = broadcast<S>(factor[E::kDegree]);
  EQUIPOT_UNROLL
  for (int k = E::kDegree - 1; k >= 0; --k) sum = sum * r + factor[k];
  const Integers power = (__builtin_convertvector(n, Integers) + E::kBias) << E::kMantissa;
  Vector<S> scale;
  std::memcpy(&scale, &power, sizeof(scale));
  return sum * scale;
}

template <class S>
inline Vector<S> sigmoid(Vector<S> x) {
  return static_cast<S>(1) / (static_cast<S>(1) + exponential<S>(-x));
}

// Value and derivatives of a nonlinearity.
template <class S>
inline void function_of(Activation kind, Vector<S> x, Vector<S>& value, Vector<S>& slope,
                        Vector<S>& curvature) {
  constexpr S one = 1, two = 2;
  if (kind == Activation::tanh) {
    value = two * sigmoid<S>(x + x) - one;
    slope = one - value * value;
    curvature = -two * value * slope;
    return;
  }
  if (kind == Activation::inverse) {
    value = static_cast<S>(1) / (static_cast<S>(1) + x);
    slope = -value * value;
    curvature = -two * value * slope;
    return;
  }
  const Vector<S> s = sigmoid<S>(x);
  const Vector<S> ds = s * (one - s);
  const Vector<S> dds = ds * (one - two * s);
  value = kind == Activation::silu ? x * s : s;
  slope = kind == Activation::silu ? s + x * ds : ds;
  curvature = kind == Activation::silu ? two * ds + x * dds : dds;
}

template <class S>
inline void function_of(Activation kind, Vector<S> x, Vector<S>& value, Vector<S>& slope) {
  Vector<S> curvature;
  function_of<S>(kind, x, value, slope, curvature);
}

}  // namespace

template <class S>
int64_t packed_size(int64_t depth, int64_t parts, int64_t columns) {
  return parts * ((columns + kPanel<S> - 1) / kPanel<S>)*kPanel<S> * depth;
}

template <class S>
void pack(const S* from, int64_t depth, int64_t parts, int64_t columns,
          int64_t depth_stride, int64_t part_stride, int64_t column_stride, S* to) {
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t panel = 0; panel < columns; panel += kPanel<S>) {
      for (int64_t k = 0; k < depth; ++k, to += kPanel<S>) {
        for (int64_t n = 0; n < kPanel<S>; ++n) {
          const int64_t c = panel + n;
          to[n] = c < columns
                      ? from[k * depth_stride + part * part_stride + c * column_stride]
                      : S{0};
        }
      }
    }
  }
}

template <class S>
void linear(const Linear<S>& m, const int64_t* order, int64_t first, int64_t last) {
  const int64_t rows = (last - first) * m.components;
  const int64_t panel_size = m.in_parts * m.depth * kPanel<S>;
  const int64_t panels = (m.columns + kPanel<S> - 1) / kPanel<S>;
  for (int64_t row = 0; row < rows; row += kTile) {
    const S* in[kTile];
    S* out[kTile];
    const int here = rows - row < kTile ? rows - row : kTile;
    for (int r = 0; r < kTile; ++r) {
      const int64_t n = row + (r < here ? r : here - 1);
      const int64_t node = order[first + n / m.components], c = n % m.components;
      in[r] = m.in + node * m.in_width + c * m.in_component_stride;
      out[r] = m.out + node * m.out_width + c * m.out_component_stride;
    }
    const S* panel = m.weights;
    for (int64_t part = 0; part < m.out_parts; ++part) {
      for (int64_t n = 0; n < panels; ++n, panel += panel_size) {
        const int64_t left = (m.columns - n * kPanel<S>) / kLanes<S>;
        tile(m, in, out, here, part * m.out_part_stride + n * kPanel<S>, panel,
             left < kPanelVectors ? left : kPanelVectors);
      }
    }
  }
}

template <class S>
void splines(const Spline<S>& f, const Edges& edges, int64_t first, int64_t last, S* values,
             S* slopes) {
  if (slopes == nullptr) {
    splines_at<S, 0>(f, edges, first, last, values, slopes, static_cast<S*>(nullptr));
  } else {
    splines_at<S, 1>(f, edges, first, last, values, slopes, static_cast<S*>(nullptr));
  }
}

template <class S>
void curved_splines(const Spline<S>& f, const Edges& edges, int64_t first, int64_t last,
                    S* values, S* slopes, S* curvatures) {
  splines_at<S, 2>(f, edges, first, last, values, slopes, curvatures);
}

template <class S>
void add_row_products(const S* a, const S* b, int64_t rows, int64_t columns, double* out) {
  for (int64_t r = 0; r < rows; ++r, a += columns, b += columns) {
    out[r] += dot(a, b, columns);
  }
}

template <class S>
void add_moments(const Moments<S>& m, const Edges& edges, int64_t first, int64_t last,
                 S* scratch) {
  const int64_t columns = m.spline.columns, size = m.harmonics * columns;
  const int64_t width = m.spline.num_elements * size;
  for (int64_t node = first; node < last; ++node) {
    S* out = m.out + node * width;
    for (int64_t n = 0; n < width; n += kLanes<S>) store(out + n, Vector<S>{});
    for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
      splines(m.spline, edges, e, e + 1, scratch, static_cast<S*>(nullptr));
      const S* y = m.y + e * m.harmonics;
      S* to = out + edges.elements[edges.senders[e]] * size;
      for (int64_t lm = 0; lm < m.harmonics; ++lm, to += columns) {
        for (int64_t k = 0; k < columns; k += kLanes<S>) {
          store(to + k, load(to + k) + y[lm] * load(scratch + k));
        }
      }
    }
  }
}

template <class S>
void differentiate_moments(const Moments<S>& m, const Edges& edges, int64_t first,
                           int64_t last, S* scratch) {
  const int64_t columns = m.spline.columns, size = m.harmonics * columns;
  const int64_t width = m.spline.num_elements * size;
  S *values = scratch, *slopes = scratch + columns, *bar = scratch + 2 * columns;
  S* curvatures = scratch + 3 * columns;
  for (int64_t node = first; node < last; ++node) {
    for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
      if (m.length_bend == nullptr) {
        splines(m.spline, edges, e, e + 1, values, slopes);
      } else {
        curved_splines(m.spline, edges, e, e + 1, values, slopes, curvatures);
      }
      const S* y = m.y + e * m.harmonics;
      S* y_bar = m.y_bar + e * m.harmonics;
      const S* from = m.bar + node * width + edges.elements[edges.senders[e]] * size;
      for (int64_t k = 0; k < columns; k += kLanes<S>) store(bar + k, Vector<S>{});
      for (int64_t lm = 0; lm < m.harmonics; ++lm, from += columns) {
        Vector<S> sum{};
        for (int64_t k = 0; k < columns; k += kLanes<S>) {
          const Vector<S> b = load(from + k);
          sum += b * load(values + k);
          store(bar + k, load(bar + k) + y[lm] * b);
        }
        y_bar[lm] += sum_of<S>(sum);
      }
      m.length_bar[e] += dot(bar, slopes, columns);
      if (m.length_bend != nullptr) m.length_bend[e] += dot(bar, curvatures, columns);
    }
  }
}

template <class S>
void add_moment_tangents(const Moments<S>& m, const Edges& edges, int64_t first,
                         int64_t last, S* scratch) {
  const int64_t columns = m.spline.columns, size = m.harmonics * columns;
  const int64_t width = m.spline.num_elements * size;
  S *values = scratch, *slopes = scratch + columns;
  for (int64_t node = first; node < last; ++node) {
    S* out = m.out + node * width;
    for (int64_t n = 0; n < width; n += kLanes<S>) store(out + n, Vector<S>{});
    for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
      if (!m.moves[e]) continue;
      splines(m.spline, edges, e, e + 1, values, slopes);
      const S length_dot = static_cast<S>(m.length_dot[e]);
      const S *y = m.y + e * m.harmonics, *y_dot = m.y_dot + e * m.harmonics;
      S* to = out + edges.elements[edges.senders[e]] * size;
      for (int64_t lm = 0; lm < m.harmonics; ++lm, to += columns) {
        const S by_slope = length_dot * y[lm], by_value = y_dot[lm];
        for (int64_t k = 0; k < columns; k += kLanes<S>) {
          store(to + k, load(to + k) + by_slope * load(slopes + k) +
                            by_value * load(values + k));
        }
      }
    }
  }
}

template <class S>
void differentiate_moment_tangents(const Moments<S>& m, const Edges& edges, int64_t first,
                                   int64_t last, S* scratch) {
  const int64_t columns = m.spline.columns, size = m.harmonics * columns;
  const int64_t width = m.spline.num_elements * size;
  S *values = scratch, *slopes = scratch + columns, *sum_dot = scratch + 2 * columns;
  for (int64_t node = first; node < last; ++node) {
    for (int64_t e = edges.pointers[node]; e < edges.pointers[node + 1]; ++e) {
      splines(m.spline, edges, e, e + 1, values, slopes);
      const S length_dot = static_cast<S>(m.length_dot[e]);
      const S *y = m.y + e * m.harmonics, *y_dot = m.y_dot + e * m.harmonics;
      S* y_bar_dot = m.y_bar + e * m.harmonics;
      const int64_t at = node * width + edges.elements[edges.senders[e]] * size;
      const S *bar = m.bar + at, *bar_dot = m.bar_dot + at;
      for (int64_t k = 0; k < columns; k += kLanes<S>) store(sum_dot + k, Vector<S>{});
      for (int64_t lm = 0; lm < m.harmonics; ++lm, bar += columns, bar_dot += columns) {
        Vector<S> sum{};
        for (int64_t k = 0; k < columns; k += kLanes<S>) {
          const Vector<S> b = load(bar + k), b_dot = load(bar_dot + k);
          sum += b_dot * load(values + k) + length_dot * b * load(slopes + k);
          store(sum_dot + k, load(sum_dot + k) + y[lm] * b_dot + y_dot[lm] * b);
        }
        y_bar_dot[lm] += sum_of<S>(sum);
      }
      m.length_bar[e] += dot(sum_dot, slopes, columns);
    }
  }
}

template <class S>
void activate(Activation kind, S gain, const S* x, int64_t width, S* out) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    Vector<S> value, slope;
    function_of<S>(kind, load(x + n), value, slope);
    store(out + n, gain * value);
  }
}

template <class S>
void differentiate_activation(Activation kind, S gain, const S* x, const S* bar,
                              int64_t width, S* x_bar, bool add) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    Vector<S> value, slope;
    function_of<S>(kind, load(x + n), value, slope);
    const Vector<S> result = load(bar + n) * (gain * slope);
    store(x_bar + n, add ? load(x_bar + n) + result : result);
  }
}

template <class S>
void activate_tangents(Activation kind, S gain, const S* x, const S* x_dot, int64_t width,
                       S* out_dot) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    Vector<S> value, slope;
    function_of<S>(kind, load(x + n), value, slope);
    store(out_dot + n, gain * slope * load(x_dot + n));
  }
}

template <class S>
void differentiate_activation_tangents(Activation kind, S gain, const S* x, const S* x_dot,
                                       const S* bar, const S* bar_dot, int64_t width,
                                       S* x_bar_dot, bool add) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    Vector<S> value, slope, curvature;
    function_of<S>(kind, load(x + n), value, slope, curvature);
    const Vector<S> result = gain * (load(bar_dot + n) * slope +
                                     load(bar + n) * load(x_dot + n) * curvature);
    store(x_bar_dot + n, add ? load(x_bar_dot + n) + result : result);
  }
}

template <class S>
void gate(Activation kind, S gain, const S* x, int64_t stride, const S* gates,
          int64_t components, int64_t channels, S* out, int64_t out_stride) {
  for (int64_t n = 0; n < channels; n += kLanes<S>) {
    Vector<S> value, slope;
    function_of<S>(kind, load(gates + n), value, slope);
    value *= gain;
    for (int64_t m = 0; m < components; ++m) {
      store(out + m * out_stride + n, load(x + m * stride + n) * value);
    }
  }
}

template <class S>
void differentiate_gate(Activation kind, S gain, const S* x, int64_t stride, const S* gates,
                        const S* bar, int64_t bar_stride, int64_t components,
                        int64_t channels, S* x_bar, bool add_x, S* gates_bar,
                        bool add_gates) {
  for (int64_t n = 0; n < channels; n += kLanes<S>) {
    Vector<S> value, slope, sum{};
    function_of<S>(kind, load(gates + n), value, slope);
    value *= gain;
    for (int64_t m = 0; m < components; ++m) {
      const Vector<S> b = load(bar + m * bar_stride + n);
      sum += b * load(x + m * stride + n);
      S* to = x_bar + m * stride + n;
      store(to, add_x ? load(to) + b * value : b * value);
    }
    sum *= gain * slope;
    store(gates_bar + n, add_gates ? load(gates_bar + n) + sum : sum);
  }
}

template <class S>
void gate_tangents(Activation kind, S gain, const GateOperands<S>& at,
                   const GateOperands<S>& dot, const GateShape& shape, S* out_dot) {
  for (int64_t n = 0; n < shape.channels; n += kLanes<S>) {
    Vector<S> value, slope;
    function_of<S>(kind, load(at.gates + n), value, slope);
    value *= gain;
    slope *= gain * load(dot.gates + n);
    for (int64_t m = 0; m < shape.components; ++m) {
      const int64_t from = m * shape.stride + n;
      store(out_dot + m * shape.out_stride + n,
            load(dot.x + from) * value + load(at.x + from) * slope);
    }
  }
}

template <class S>
void differentiate_gate_tangents(Activation kind, S gain, const GateOperands<S>& at,
                                 const GateOperands<S>& dot, const GateShape& shape,
                                 S* x_bar_dot, bool add_x, S* gates_bar_dot,
                                 bool add_gates) {
  for (int64_t n = 0; n < shape.channels; n += kLanes<S>) {
    Vector<S> value, slope, curvature, sum{}, sum_dot{};
    function_of<S>(kind, load(at.gates + n), value, slope, curvature);
    const Vector<S> gates_dot = load(dot.gates + n);
    value *= gain, slope *= gain, curvature *= gain * gates_dot;
    const Vector<S> value_dot = slope * gates_dot;
    for (int64_t m = 0; m < shape.components; ++m) {
      const int64_t in = m * shape.stride + n, out = m * shape.out_stride + n;
      const Vector<S> b = load(at.bar + out), b_dot = load(dot.bar + out);
      const Vector<S> x = load(at.x + in);
      sum += b * x;
      sum_dot += b_dot * x + b * load(dot.x + in);
      const Vector<S> result = b_dot * value + b * value_dot;
      store(x_bar_dot + in, add_x ? load(x_bar_dot + in) + result : result);
    }
    const Vector<S> result = sum_dot * slope + sum * curvature;
    store(gates_bar_dot + n, add_gates ? load(gates_bar_dot + n) + result : result);
  }
}

template <class S>
void normalize(const S* weights, const S* factors, S epsilon, bool centered, const S* x,
               int64_t width, S* out) {
  if (centered) {
    center(weights, x, width, out);
    x = out;
  }
  const S scale = 1 / __builtin_sqrt(weighted_square(weights, x, width) + epsilon);
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    store(out + n, scale * load(factors + n) * load(x + n));
  }
}

template <class S>
void differentiate_norm(const S* weights, const S* factors, S epsilon, bool centered,
                        const S* x, const S* bar, int64_t width, S* x_bar) {
  if (centered) {
    center(weights, x, width, x_bar);
    x = x_bar;
  }
  const S scale = 1 / __builtin_sqrt(weighted_square(weights, x, width) + epsilon);
  Vector<S> sum{};
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    sum += load(factors + n) * load(bar + n) * load(x + n);
  }
  const S along = sum_of<S>(sum) * scale * scale * scale;
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    store(x_bar + n, scale * load(factors + n) * load(bar + n) -
                         along * load(weights + n) * load(x + n));
  }
  if (centered) center(weights, x_bar, width, x_bar);
}

template <class S>
void squares(const S* x, int64_t stride, int64_t components, int64_t channels, S* out) {
  for (int64_t n = 0; n < channels; n += kLanes<S>) {
    Vector<S> sum{};
    for (int64_t m = 0; m < components; ++m) {
      const Vector<S> value = load(x + m * stride + n);
      sum += value * value;
    }
    store(out + n, sum);
  }
}

template <class S>
void differentiate_squares(const S* x, int64_t stride, const S* bar, int64_t components,
                           int64_t channels, S* x_bar, bool add) {
  for (int64_t n = 0; n < channels; n += kLanes<S>) {
    const Vector<S> twice = load(bar + n) + load(bar + n);
    for (int64_t m = 0; m < components; ++m) {
      const Vector<S> value = twice * load(x + m * stride + n);
      S* to = x_bar + m * stride + n;
      store(to, add ? load(to) + value : value);
    }
  }
}

template <class S>
void multiplied(const S* factors, const S* from, int64_t width, S* to, bool add) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    const Vector<S> value = load(factors + n) * load(from + n);
    store(to + n, add ? load(to + n) + value : value);
  }
}

template <class S>
void normalize_tangents(const S* weights, const S* factors, S epsilon, const S* x,
                        const S* x_dot, int64_t width, S* out_dot) {
  const S scale = 1 / __builtin_sqrt(weighted_square(weights, x, width) + epsilon);
  Vector<S> sum{};
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    sum += load(weights + n) * load(x + n) * load(x_dot + n);
  }
  const S scale_dot = -scale * scale * scale * sum_of<S>(sum);
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    store(out_dot + n,
          load(factors + n) * (scale * load(x_dot + n) + scale_dot * load(x + n)));
  }
}

template <class S>
void differentiate_norm_tangents(const S* weights, const S* factors, S epsilon, const S* x,
                                 const S* x_dot, const S* bar, const S* bar_dot,
                                 int64_t width, S* x_bar_dot) {
  const S scale = 1 / __builtin_sqrt(weighted_square(weights, x, width) + epsilon);
  Vector<S> sum{}, along{}, along_dot{};
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    const Vector<S> x_n = load(x + n), dot_n = load(x_dot + n), f = load(factors + n);
    sum += load(weights + n) * x_n * dot_n;
    along += f * load(bar + n) * x_n;
    along_dot += f * (load(bar_dot + n) * x_n + load(bar + n) * dot_n);
  }
  const S cube = scale * scale * scale, scale_dot = -cube * sum_of<S>(sum);
  const S of_x_dot = cube * sum_of<S>(along);
  const S of_x = cube * sum_of<S>(along_dot) +
                 3 * scale * scale * scale_dot * sum_of<S>(along);
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    store(x_bar_dot + n,
          load(factors + n) * (scale * load(bar_dot + n) + scale_dot * load(bar + n)) -
              load(weights + n) * (of_x * load(x + n) + of_x_dot * load(x_dot + n)));
  }
}

template <class S>
void multiply_rows(const S* m, int64_t stride_in, int64_t stride_out, const S* x,
                   int64_t rows_in, int64_t rows_out, int64_t channels, S* out, bool add) {
  for (int64_t r = 0; r < rows_out; ++r, m += stride_out, out += channels) {
    for (int64_t c = 0; c < channels; c += kLanes<S>) {
      Vector<S> sum = add ? load(out + c) : Vector<S>{};
      for (int64_t q = 0; q < rows_in; ++q) {
        sum += load(m + q * stride_in + c) * load(x + q * channels + c);
      }
      store(out + c, sum);
    }
  }
}

template <class S>
void scaled(S factor, const S* from, int64_t width, S* to, bool add) {
  for (int64_t n = 0; n < width; n += kLanes<S>) {
    const Vector<S> value = factor * load(from + n);
    store(to + n, add ? load(to + n) + value : value);
  }
}

template <class S>
double dot(const S* a, const S* b, int64_t width) {
  Vector<S> sum{};
  for (int64_t n = 0; n < width; n += kLanes<S>) sum += load(a + n) * load(b + n);
  return static_cast<double>(sum_of<S>(sum));
}

#define EQUIPOT_INSTANTIATE(S)                                                             \
  template int64_t packed_size<S>(int64_t, int64_t, int64_t);                              \
  template void pack(const S*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, S*);  \
  template void linear(const Linear<S>&, const int64_t*, int64_t, int64_t);                \
  template void splines(const Spline<S>&, const Edges&, int64_t, int64_t, S*, S*);         \
  template void curved_splines(const Spline<S>&, const Edges&, int64_t, int64_t, S*, S*,   \
                               S*);                                                        \
  template void add_moment_tangents(const Moments<S>&, const Edges&, int64_t, int64_t,     \
                                    S*);                                                   \
  template void differentiate_moment_tangents(const Moments<S>&, const Edges&, int64_t,    \
                                              int64_t, S*);                                \
  template void activate_tangents(Activation, S, const S*, const S*, int64_t, S*);         \
  template void differentiate_activation_tangents(Activation, S, const S*, const S*,       \
                                                  const S*, const S*, int64_t, S*, bool);  \
  template void gate_tangents(Activation, S, const GateOperands<S>&,                       \
                              const GateOperands<S>&, const GateShape&, S*);               \
  template void differentiate_gate_tangents(Activation, S, const GateOperands<S>&,         \
                                            const GateOperands<S>&, const GateShape&, S*,  \
                                            bool, S*, bool);                               \
  template void normalize_tangents(const S*, const S*, S, const S*, const S*, int64_t,     \
                                   S*);                                                    \
  template void differentiate_norm_tangents(const S*, const S*, S, const S*, const S*,     \
                                            const S*, const S*, int64_t, S*);              \
  template void add_row_products(const S*, const S*, int64_t, int64_t, double*);           \
  template void add_moments(const Moments<S>&, const Edges&, int64_t, int64_t, S*);        \
  template void differentiate_moments(const Moments<S>&, const Edges&, int64_t, int64_t,   \
                                      S*);                                                 \
  template void activate(Activation, S, const S*, int64_t, S*);                            \
  template void differentiate_activation(Activation, S, const S*, const S*, int64_t, S*,   \
                                         bool);                                            \
  template void gate(Activation, S, const S*, int64_t, const S*, int64_t, int64_t, S*,     \
                     int64_t);                                                             \
  template void differentiate_gate(Activation, S, const S*, int64_t, const S*, const S*,   \
                                   int64_t, int64_t, int64_t, S*, bool, S*, bool);         \
  template void normalize(const S*, const S*, S, bool, const S*, int64_t, S*);             \
  template void differentiate_norm(const S*, const S*, S, bool, const S*, const S*,        \
                                   int64_t, S*);                                           \
  template void squares(const S*, int64_t, int64_t, int64_t, S*);                          \
  template void differentiate_squares(const S*, int64_t, const S*, int64_t, int64_t, S*,   \
                                      bool);                                               \
  template void multiplied(const S*, const S*, int64_t, S*, bool);                         \
  template void multiply_rows(const S*, int64_t, int64_t, const S*, int64_t, int64_t,      \
                              int64_t, S*, bool);                                          \
  template void scaled(S, const S*, int64_t, S*, bool);                                    \
  template double dot(const S*, const S*, int64_t);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
