// Convolution kernels, with SIMD over channels. The data of an edge fit into the L1
// cache.
//
// First the matrices T = sum_j M_j Y_j of a block of edges are computed, with SIMD over
// edges. Each edge then contributes a sum of small dense matrix-vector products per
// channel, in which an element of T multiplies a vector of channels. With tangents x_dot,
// y_dot, w_dot and B = sum_j M_j y_dot_j, the kernels compute the directional derivative
// along them.
#include "convolution.h"
#include "edge_block.h"
#include "padding.h"

#include <cstring>

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Maximum number of components of an unrolled loop, 2 * 6 + 1. Higher degrees are split
// into several such loops.
constexpr int kMostComponents = 13;

constexpr Tangents kNone = Tangents::none, kAll = Tangents::all;

// Computes the path matrices of a block of edges, [lanes, map.elements]. `harmonics` is
// scratch space.
template <class S>
void edge_matrices(const EdgeMap<S>& map, const S* y, const EdgeBlock<S>& block,
                   S* harmonics, S* matrices) {
  constexpr int n = kLanes<S>;
  block.read(y, map.harmonics, harmonics);
  for (int first = 0; first < map.elements; first += n) {
    Vector<S> rows[n];
    EQUIPOT_UNROLL
    for (int r = 0; r < n; ++r) {
      rows[r] = map.values[first + r] * load(harmonics + map.columns[first + r] * n);
    }
    for (int q = 1; q < map.terms; ++q) {
      const S* values = map.values + q * map.elements + first;
      const int32_t* columns = map.columns + q * map.elements + first;
      EQUIPOT_UNROLL
      for (int r = 0; r < n; ++r) rows[r] += values[r] * load(harmonics + columns[r] * n);
    }
    transpose<S>(rows);
    EQUIPOT_UNROLL
    for (int e = 0; e < n; ++e) store(matrices + e * map.elements + first, rows[e]);
  }
}

// Computes y_bar of a block of edges from the gradients of its matrices. `by_element` is
// scratch space.
template <class S>
void differentiate_harmonics(const EdgeMap<S>& map, const S* matrices_bar,
                             const EdgeBlock<S>& block, S* by_element, S* y_bar) {
  constexpr int n = kLanes<S>;
  for (int first = 0; first < map.elements; first += n) {
    Vector<S> rows[n];
    EQUIPOT_UNROLL
    for (int e = 0; e < n; ++e) rows[e] = load(matrices_bar + e * map.elements + first);
    transpose<S>(rows);
    EQUIPOT_UNROLL
    for (int r = 0; r < n; ++r) store(by_element + (first + r) * n, rows[r]);
  }
  for (int j = 0; j < map.harmonics; ++j) {
    Vector<S> sum{};
    for (int q = map.starts[j]; q < map.starts[j + 1]; ++q) {
      sum += map.transposed_values[q] * load(by_element + map.transposed_elements[q] * n);
    }
    for (int e = 0; e < block.count; ++e) {
      y_bar[block.edges[e] * map.harmonics + j] = sum[e];
    }
  }
}

// Number of vectors of channels per loop iteration, 1, 2 or 4: the largest for which all
// accumulators fit into registers.
constexpr int vectors_at_once(int accumulators, int others) {
  for (int vectors = 4; vectors > 1; vectors /= 2) {
    if ((accumulators + others) * vectors + 1 <= EQUIPOT_REGISTERS) return vectors;
  }
  return 1;
}

// Calls body.run<number>(). Precondition: number is odd and at most kMostComponents.
template <class Body>
inline void with_components(int number, const Body& body) {
  switch (number) {
    case 1: return body.template run<1>();
    case 3: return body.template run<3>();
    case 5: return body.template run<5>();
    case 7: return body.template run<7>();
    case 9: return body.template run<9>();
    case 11: return body.template run<11>();
    case 13: return body.template run<13>();
  }
}

// Number of components of the next unrolled loop: odd and at most kMostComponents.
inline int first_go(int components) {
  if (components > kMostComponents) return kMostComponents;
  return components % 2 == 1 ? components : components - 1;
}

// Contribution of one edge to the messages of a group: sum_i T_ik w x_i or, with
// tangents, sum_i T_ik (w x_dot_i + w_dot x_i) + B_ik w x_i.
template <class S>
struct Messages {
  const Path *first, *last;
  const S *w, *w_dot;        // row of the first path
  const S *next, *next_dot;  // the same row of the next edge, to prefetch
  const S *x, *x_dot;
  const S *matrices, *matrices_dot;
  S* z;
  int64_t stride;
};

template <class S, Tangents kTangents, int kColumns, int kVectors>
inline void add_messages(const Messages<S>& m, int column, int64_t channel) {
  constexpr int n = kLanes<S>;
  S* z = m.z + (m.first->z + column) * m.stride + channel;
  Vector<S> sum[kColumns][kVectors];
  EQUIPOT_UNROLL
  for (int k = 0; k < kColumns; ++k) {
    EQUIPOT_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[k][v] = load(z + k * m.stride + v * n);
  }
  int64_t place = channel;
  for (const Path* path = m.first; path != m.last; ++path, place += m.stride) {
    Vector<S> w[kVectors], w_dot[kVectors];
    EQUIPOT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      w[v] = load(m.w + place + v * n);
      __builtin_prefetch(m.next + place + v * n);
      if constexpr (kTangents == kAll) {
        w_dot[v] = load(m.w_dot + place + v * n);
        __builtin_prefetch(m.next_dot + place + v * n);
      }
    }
    const S* t = m.matrices + path->element + column;
    const S* b = kTangents != kNone ? m.matrices_dot + path->element + column : nullptr;
    const int64_t x = path->x * m.stride + channel;
    if (path->diagonal) {
      EQUIPOT_UNROLL
      for (int k = 0; k < kColumns; ++k) {
        const int64_t at = x + (column + k) * m.stride;
        EQUIPOT_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const Vector<S> x_k = load(m.x + at + v * n);
          if constexpr (kTangents != kNone) {
            Vector<S> u_dot = w[v] * load(m.x_dot + at + v * n);
            if constexpr (kTangents == kAll) u_dot += w_dot[v] * x_k;
            sum[k][v] += t[k] * u_dot;
            sum[k][v] += b[k] * (w[v] * x_k);
          } else {
            sum[k][v] += t[k] * (w[v] * x_k);
          }
        }
      }
      continue;
    }
    for (int i = 0; i < path->rows; ++i) {
      const int64_t at = x + i * m.stride;
      Vector<S> u[kVectors], u_dot[kVectors];
      EQUIPOT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vector<S> x_i = load(m.x + at + v * n);
        u[v] = w[v] * x_i;
        if constexpr (kTangents != kNone) {
          u_dot[v] = w[v] * load(m.x_dot + at + v * n);
          if constexpr (kTangents == kAll) u_dot[v] += w_dot[v] * x_i;
        }
      }
      EQUIPOT_UNROLL
      for (int k = 0; k < kColumns; ++k) {
        EQUIPOT_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (kTangents != kNone) {
            sum[k][v] += t[k] * u_dot[v];
            sum[k][v] += b[k] * u[v];
          } else {
            sum[k][v] += t[k] * u[v];
          }
        }
      }
      t += path->columns;
      if constexpr (kTangents != kNone) b += path->columns;
    }
  }
  EQUIPOT_UNROLL
  for (int k = 0; k < kColumns; ++k) {
    EQUIPOT_UNROLL
    for (int v = 0; v < kVectors; ++v) store(z + k * m.stride + v * n, sum[k][v]);
  }
}

template <class S, Tangents kTangents>
struct AddMessages {
  const Messages<S>& m;
  int column;

  template <int kColumns>
  void run() const {
    constexpr int kVectors = vectors_at_once(kColumns, kTangents != kNone ? 4 : 1);
    int64_t channel = 0;
    for (; channel + kVectors * kLanes<S> <= m.stride; channel += kVectors * kLanes<S>) {
      add_messages<S, kTangents, kColumns, kVectors>(m, column, channel);
    }
    for (; channel < m.stride; channel += kLanes<S>) {
      add_messages<S, kTangents, kColumns, 1>(m, column, channel);
    }
  }
};

template <class S, Tangents kTangents>
void add_messages(const Messages<S>& m) {
  for (int column = 0, go; column < m.first->columns; column += go) {
    go = first_go(m.first->columns - column);
    with_components(go, AddMessages<S, kTangents>{m, column});
  }
}

// Operands and results of the gradients of one path of an edge.
template <class S>
struct Derivatives {
  const Path* path;
  const S *w, *w_dot;        // row of the path
  const S *next, *next_dot;  // the same row of the next edge, to prefetch
  const S *x, *x_dot, *g;    // components of the path
  const S *matrices, *matrices_dot;
  S *x_bar, *w_bar, *matrices_bar;
  S* next_bar;
  S* u;  // scratch space for the factor of g in the gradient of T
  int64_t stride;
};

// With h_i = sum_k T_ik g_k:  x_bar_i += w h_i,  w_bar = sum_i x_i h_i,  u_i = w x_i.
// With tangents, and h_dot_i = sum_k B_ik g_k:  x_bar_i += w h_dot_i + w_dot h_i,
// w_bar = sum_i x_dot_i h_i + x_i h_dot_i,  u_i = w x_dot_i + w_dot x_i.
template <class S, Tangents kTangents, int kRows, int kVectors>
inline void differentiate_operands(const Derivatives<S>& d, int row, int64_t channel) {
  constexpr int n = kLanes<S>;
  const int64_t stride = d.stride;
  const bool diagonal = d.path->diagonal;
  const int columns = diagonal ? 1 : d.path->columns, rows = d.path->rows;
  const S* t = d.matrices + row;
  const S* b = kTangents != kNone ? d.matrices_dot + row : nullptr;
  const S* g = d.g + (diagonal ? row * stride : 0) + channel;
  Vector<S> h[kRows][kVectors], h_dot[kTangents != kNone ? kRows : 1][kVectors];
  if (diagonal) {
    EQUIPOT_UNROLL
    for (int i = 0; i < kRows; ++i, g += stride) {
      EQUIPOT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vector<S> g_i = load(g + v * n);
        h[i][v] = t[i] * g_i;
        if constexpr (kTangents != kNone) h_dot[i][v] = b[i] * g_i;
      }
    }
  } else {
    EQUIPOT_UNROLL
    for (int i = 0; i < kRows; ++i) {
      EQUIPOT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        h[i][v] = Vector<S>{};
        if constexpr (kTangents != kNone) h_dot[i][v] = Vector<S>{};
      }
    }
    for (int k = 0; k < columns; ++k) {
      Vector<S> g_k[kVectors];
      EQUIPOT_UNROLL
      for (int v = 0; v < kVectors; ++v) g_k[v] = load(g + v * n);
      EQUIPOT_UNROLL
      for (int i = 0; i < kRows; ++i) {
        EQUIPOT_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          h[i][v] += t[i] * g_k[v];
          if constexpr (kTangents != kNone) h_dot[i][v] += b[i] * g_k[v];
        }
      }
      g += stride;
      t += rows;
      if constexpr (kTangents != kNone) b += rows;
    }
  }

  // local copies of pointers, because vector stores may alias the members of d
  const int64_t place = row * stride + channel;
  const S *x = d.x + place, *x_dot = kTangents != kNone ? d.x_dot + place : nullptr;
  S *x_bar = d.x_bar + place, *u = d.u + place, *to_w_bar = d.w_bar + channel;
  Vector<S> w[kVectors], w_dot[kVectors], w_bar[kVectors];
  EQUIPOT_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    w[v] = load(d.w + channel + v * n);
    __builtin_prefetch(d.next + channel + v * n);
    __builtin_prefetch(d.next_bar + channel + v * n, 1);
    if constexpr (kTangents == kAll) {
      w_dot[v] = load(d.w_dot + channel + v * n);
      __builtin_prefetch(d.next_dot + channel + v * n);
    }
    w_bar[v] = row == 0 ? Vector<S>{} : load(to_w_bar + v * n);
  }
  EQUIPOT_UNROLL
  for (int i = 0; i < kRows; ++i) {
    EQUIPOT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vector<S> x_i = load(x + v * n);
      if constexpr (kTangents != kNone) {
        const Vector<S> x_dot_i = load(x_dot + v * n);
        w_bar[v] += x_dot_i * h[i][v];
        w_bar[v] += x_i * h_dot[i][v];
        Vector<S> sum = load(x_bar + v * n) + w[v] * h_dot[i][v];
        Vector<S> u_i = w[v] * x_dot_i;
        if constexpr (kTangents == kAll) {
          sum += w_dot[v] * h[i][v];
          u_i += w_dot[v] * x_i;
        }
        store(x_bar + v * n, sum);
        store(u + v * n, u_i);
      } else {
        w_bar[v] += x_i * h[i][v];
        store(x_bar + v * n, load(x_bar + v * n) + w[v] * h[i][v]);
        store(u + v * n, w[v] * x_i);
      }
    }
    x += stride;
    x_bar += stride;
    u += stride;
    if constexpr (kTangents != kNone) x_dot += stride;
  }
  EQUIPOT_UNROLL
  for (int v = 0; v < kVectors; ++v) store(to_w_bar + v * n, w_bar[v]);
}

template <class S, Tangents kTangents>
struct DifferentiateOperands {
  const Derivatives<S>& d;
  int row;

  template <int kRows>
  void run() const {
    constexpr int kVectors = vectors_at_once(kTangents != kNone ? 2 * kRows : kRows, 1);
    int64_t channel = 0;
    for (; channel + kVectors * kLanes<S> <= d.stride; channel += kVectors * kLanes<S>) {
      differentiate_operands<S, kTangents, kRows, kVectors>(d, row, channel);
    }
    for (; channel < d.stride; channel += kLanes<S>) {
      differentiate_operands<S, kTangents, kRows, 1>(d, row, channel);
    }
  }
};

// Gradient of a kRows x kColumns tile of the matrix: sum over channels of u_i g_k.
template <class S, int kRows, int kColumns>
void differentiate_tile(const Derivatives<S>& d, int row, int column) {
  constexpr int n = kLanes<S>;
  const S* u = d.u + row * d.stride;
  const S* g = d.g + column * d.stride;
  Vector<S> sum[kColumns * kRows];
  EQUIPOT_UNROLL
  for (int q = 0; q < kColumns * kRows; ++q) sum[q] = Vector<S>{};
  for (int64_t channel = 0; channel < d.stride; channel += n) {
    Vector<S> g_k[kColumns];
    EQUIPOT_UNROLL
    for (int k = 0; k < kColumns; ++k) g_k[k] = load(g + k * d.stride + channel);
    EQUIPOT_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vector<S> u_i = load(u + i * d.stride + channel);
      EQUIPOT_UNROLL
      for (int k = 0; k < kColumns; ++k) sum[k * kRows + i] += u_i * g_k[k];
    }
  }
  store_sums<S>(d.matrices_bar + column * d.path->rows + row, sum);
}

template <class S, int kRows>
struct DifferentiateTile {
  const Derivatives<S>& d;
  int row, column;

  template <int kColumns>
  void run() const {
    differentiate_tile<S, kRows, kColumns>(d, row, column);
  }
};

// Gradient of the diagonal of the matrix: sum over channels of u_i g_i.
template <class S, int kRows>
void differentiate_diagonal(const Derivatives<S>& d, int row) {
  Vector<S> sum[kRows];
  EQUIPOT_UNROLL
  for (int i = 0; i < kRows; ++i) sum[i] = Vector<S>{};
  for (int64_t channel = 0; channel < d.stride; channel += kLanes<S>) {
    EQUIPOT_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int64_t at = (row + i) * d.stride + channel;
      sum[i] += load(d.u + at) * load(d.g + at);
    }
  }
  store_sums<S>(d.matrices_bar + row, sum);
}

// Maximum number of columns of a tile, at most 7, for which its accumulators fit into
// registers.
constexpr int columns_at_once(int rows) {
  const int most = (EQUIPOT_REGISTERS - 2) / (rows + 1);
  return most < 1 ? 1 : most > 7 ? 7 : most;
}

template <class S>
struct DifferentiateMatrix {
  const Derivatives<S>& d;
  int row;

  template <int kRows>
  void run() const {
    if (d.path->diagonal) return differentiate_diagonal<S, kRows>(d, row);
    constexpr int kMost = columns_at_once(kRows);
    // tiles of about equal size; tiles with fewer rows than the matrix are not contiguous
    // and have one column
    const int columns = d.path->columns;
    const int tiles = kRows == d.path->rows ? (columns + kMost - 1) / kMost : columns;
    for (int tile = 0; tile < tiles; ++tile) {
      const int column = columns * tile / tiles;
      switch (columns * (tile + 1) / tiles - column) {
#define EQUIPOT_CASE(number) \
  case number:               \
    if constexpr (number <= kMost) differentiate_tile<S, kRows, number>(d, row, column); \
    break;
        EQUIPOT_CASE(1)
        EQUIPOT_CASE(2)
        EQUIPOT_CASE(3)
        EQUIPOT_CASE(4)
        EQUIPOT_CASE(5)
        EQUIPOT_CASE(6)
        EQUIPOT_CASE(7)
#undef EQUIPOT_CASE
      }
    }
  }
};

template <class S, Tangents kTangents>
void differentiate(const Derivatives<S>& d) {
  for (int row = 0, go; row < d.path->rows; row += go) {
    go = first_go(d.path->rows - row);
    with_components(go, DifferentiateOperands<S, kTangents>{d, row});
    with_components(go, DifferentiateMatrix<S>{d, row});
  }
}

// Scratch space of a thread; unused parts are empty.
template <class S>
struct Scratch {
  S *harmonics, *matrices, *matrices_dot, *matrices_bar, *by_element, *u;
  S *x, *x_dot, *w, *w_dot, *z, *x_bar, *w_bar;  // padded copies
  int64_t size;

  Scratch(const Convolution<S>& c, S* memory) {
    Parts<S> parts(memory);
    const int64_t stride = padded<S>(c.channels);
    const bool tangents = c.tangents != kNone, derivatives = c.derivatives;
    const int64_t elements = kLanes<S> * c.map.elements;
    harmonics = parts.take(kLanes<S> * c.map.harmonics);
    matrices = parts.take(elements);
    matrices_dot = parts.take(tangents ? elements : 0);
    matrices_bar = parts.take(derivatives ? elements : 0);
    by_element = parts.take(derivatives ? elements : 0);
    u = parts.take(derivatives ? stride * c.x_rows : 0);
    const bool copies = stride != c.channels;
    x = parts.take(copies ? stride * c.x_rows : 0);
    x_dot = parts.take(copies && tangents ? stride * c.x_rows : 0);
    w = parts.take(copies ? stride * c.num_paths : 0);
    w_dot = parts.take(copies && tangents ? stride * c.num_paths : 0);
    z = parts.take(copies ? stride * c.z_rows : 0);
    x_bar = parts.take(copies && derivatives ? stride * c.x_rows : 0);
    w_bar = parts.take(copies && derivatives ? stride * c.num_paths : 0);
    size = parts.size();
  }
};

template <class S, Tangents kTangents>
void gather(const Convolution<S>& c, int64_t first, int64_t last, S* memory) {
  const Scratch<S> scratch(c, memory);
  const int64_t stride = padded<S>(c.channels);
  const int64_t row = c.num_paths * c.channels;
  int64_t edge = c.pointers[first];
  EdgeBlock<S> block{};
  int in_block = 0;
  for (int64_t node = first; node < last; ++node) {
    S* z = c.z + node * c.z_rows * c.channels;
    S* sum = c.channels == stride ? z : scratch.z;
    if (!c.add) std::memset(sum, 0, c.z_rows * stride * sizeof(S));
    for (; edge < c.pointers[node + 1]; ++edge, ++in_block) {
      if (in_block == block.count) {
        block = EdgeBlock<S>::of(edge, c.pointers[last], c.order);
        in_block = 0;
        edge_matrices(c.map, c.y, block, scratch.harmonics, scratch.matrices);
        if constexpr (kTangents != kNone) {
          edge_matrices(c.map, c.y_dot, block, scratch.harmonics, scratch.matrices_dot);
        }
      }
      const int64_t e = block.edges[in_block];
      const int64_t next = block.edges[in_block + 1 < block.count ? in_block + 1 : in_block];
      const int64_t sender = c.senders[e] * c.x_rows * c.channels;
      const auto weights = [&](const S* all, S* copy) {
        return whole_vectors(all + e * row, c.num_paths, c.channels, stride, copy);
      };
      const auto features = [&](const S* all, S* copy) {
        return whole_vectors(all + sender, c.x_rows, c.channels, stride, copy);
      };
      Messages<S> m{};
      m.w = weights(c.w, scratch.w);
      m.next = c.w + next * row;
      m.x = features(c.x, scratch.x);
      m.matrices = scratch.matrices + in_block * c.map.elements;
      if constexpr (kTangents != kNone) {
        m.x_dot = features(c.x_dot, scratch.x_dot);
        m.matrices_dot = scratch.matrices_dot + in_block * c.map.elements;
      }
      if constexpr (kTangents == kAll) {
        m.w_dot = weights(c.w_dot, scratch.w_dot);
        m.next_dot = c.w_dot + next * row;
      }
      m.z = sum;
      m.stride = stride;
      for (int32_t group = 0; group < c.num_groups; ++group) {
        m.first = c.paths + c.groups[group].first;
        m.last = c.paths + c.groups[group].last;
        add_messages<S, kTangents>(m);
        const int64_t step = (m.last - m.first) * stride;
        m.w += step;
        m.next += step;
        if constexpr (kTangents == kAll) {
          m.w_dot += step;
          m.next_dot += step;
        }
      }
    }
    without_padding(sum, c.z_rows, c.channels, stride, z);
  }
}

template <class S, Tangents kTangents>
void differentiate(const Convolution<S>& c, int64_t first, int64_t last, S* memory) {
  const Scratch<S> scratch(c, memory);
  const int64_t stride = padded<S>(c.channels);
  const int64_t row = c.num_paths * c.channels;
  int64_t edge = c.pointers[first];
  EdgeBlock<S> block{};
  int in_block = 0;
  for (int64_t node = first; node < last; ++node) {
    const int64_t sender = node * c.x_rows * c.channels;
    const auto features = [&](const S* all, S* copy) {
      return whole_vectors(all + sender, c.x_rows, c.channels, stride, copy);
    };
    const S* x = features(c.x, scratch.x);
    const S* x_dot = kTangents != kNone ? features(c.x_dot, scratch.x_dot) : nullptr;
    S* x_bar = c.channels == stride ? c.x_bar + sender : scratch.x_bar;
    if (!c.add) std::memset(x_bar, 0, c.x_rows * stride * sizeof(S));
    for (; edge < c.pointers[node + 1]; ++edge, ++in_block) {
      if (in_block == block.count) {
        block = EdgeBlock<S>::of(edge, c.pointers[last], c.order);
        in_block = 0;
        edge_matrices(c.map, c.y, block, scratch.harmonics, scratch.matrices);
        if constexpr (kTangents != kNone) {
          edge_matrices(c.map, c.y_dot, block, scratch.harmonics, scratch.matrices_dot);
        }
      }
      const int64_t e = block.edges[in_block];
      const int64_t next = block.edges[in_block + 1 < block.count ? in_block + 1 : in_block];
      const auto weights = [&](const S* all, S* copy) {
        return whole_vectors(all + e * row, c.num_paths, c.channels, stride, copy);
      };
      Derivatives<S> d{};
      d.w = weights(c.w, scratch.w);
      d.next = c.w + next * row;
      d.next_bar = c.w_bar + next * row;
      d.matrices = scratch.matrices + in_block * c.map.elements;
      if constexpr (kTangents != kNone) {
        d.matrices_dot = scratch.matrices_dot + in_block * c.map.elements;
      }
      if constexpr (kTangents == kAll) {
        d.w_dot = weights(c.w_dot, scratch.w_dot);
        d.next_dot = c.w_dot + next * row;
      }
      const S* g = whole_vectors(c.g + c.receivers[e] * c.z_rows * c.channels, c.z_rows,
                               c.channels, stride, scratch.z);
      d.w_bar = c.channels == stride ? c.w_bar + e * row : scratch.w_bar;
      S* matrices_bar = scratch.matrices_bar + in_block * c.map.elements;
      d.u = scratch.u;
      d.stride = stride;
      const S* w_bar = d.w_bar;
      for (d.path = c.paths; d.path != c.paths + c.num_paths; ++d.path) {
        const S *t = d.matrices, *b = d.matrices_dot;
        d.matrices += d.path->element;
        if constexpr (kTangents != kNone) d.matrices_dot += d.path->element;
        d.matrices_bar = matrices_bar + d.path->element;
        d.x = x + d.path->x * stride;
        d.x_dot = kTangents != kNone ? x_dot + d.path->x * stride : nullptr;
        d.x_bar = x_bar + d.path->x * stride;
        d.g = g + d.path->z * stride;
        differentiate<S, kTangents>(d);
        d.matrices = t;
        d.matrices_dot = b;
        d.w += stride;
        d.next += stride;
        d.next_bar += stride;
        d.w_bar += stride;
        if constexpr (kTangents == kAll) {
          d.w_dot += stride;
          d.next_dot += stride;
        }
      }
      without_padding(w_bar, c.num_paths, c.channels, stride, c.w_bar + e * row);
      if (in_block + 1 == block.count) {
        differentiate_harmonics(c.map, scratch.matrices_bar, block, scratch.by_element,
                                c.y_bar);
      }
    }
    without_padding(x_bar, c.x_rows, c.channels, stride, c.x_bar + sender);
  }
}

}  // namespace

template <class S>
int64_t scratch_size(const Convolution<S>& c) {
  return Scratch<S>(c, nullptr).size;
}

template <class S>
void gather(const Convolution<S>& c, int64_t first, int64_t last, S* scratch) {
  switch (c.tangents) {
    case Tangents::none: return gather<S, Tangents::none>(c, first, last, scratch);
    case Tangents::without_weights:
      return gather<S, Tangents::without_weights>(c, first, last, scratch);
    case Tangents::all: return gather<S, Tangents::all>(c, first, last, scratch);
  }
}

template <class S>
void differentiate(const Convolution<S>& c, int64_t first, int64_t last, S* scratch) {
  switch (c.tangents) {
    case Tangents::none: return differentiate<S, Tangents::none>(c, first, last, scratch);
    case Tangents::without_weights:
      return differentiate<S, Tangents::without_weights>(c, first, last, scratch);
    case Tangents::all: return differentiate<S, Tangents::all>(c, first, last, scratch);
  }
}

#define EQUIPOT_INSTANTIATE(S)                                                \
  template int64_t scratch_size(const Convolution<S>&);                       \
  template void gather(const Convolution<S>&, int64_t, int64_t, S*);          \
  template void differentiate(const Convolution<S>&, int64_t, int64_t, S*);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
