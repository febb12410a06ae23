// The ops of equipot/ops/so2_convolution.py on the CPU: argument checks, layout of
// constants and threading.
#include "so2.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "../operands.h"
#include "elements.h"
#include "memory.h"
#include "schedule.h"
#include "topology.h"

namespace equipot {
namespace {

// Number of scalars per edge in `rotations`; see so2_frame.h.
int64_t rotation_size(int64_t lmax) {
  int64_t size = 0;
  for (int64_t l = 1; l <= lmax; ++l) size += 2 + (l + 1) * (l + 1) + l * l;
  return size;
}

int64_t components(int64_t lmax) { return (lmax + 1) * (lmax + 1); }

// The degree lmax for which (lmax + 1)^2 == count. Throws if there is none up to
// kMaxDegree.
int32_t degree_of(int64_t count, const char* name) {
  int32_t lmax = 0;
  while (lmax < kMaxDegree && components(lmax) < count) ++lmax;
  EQUIPOT_CHECK(components(lmax) == count, name, " must hold (lmax + 1)**2 components "
                "with lmax up to ", kMaxDegree, ", got ", count,
                "; for other products use equipot::convolve");
  return lmax;
}

// Operands that all SO(2) convolution ops have.
struct So2Operands {
  const Tensor &x, &directions, &w, &rotations;
  const Topology& topology;
  const Table& table;
};

void check_operands(const So2Operands& o) {
  check_floating(o.x, "x");
  const ScalarType type = o.x.scalar_type();
  for (const auto& [tensor, name] : {std::pair{&o.x, "x"},
                                     {&o.directions, "directions"},
                                     {&o.w, "w"},
                                     {&o.rotations, "rotations"}}) {
    check_tensor(*tensor, name, type, kCpu);
  }
  check_shape(o.x, "x", {-1, -1, -1}, "(nodes, components, channels)");
  check_shape(o.directions, "directions", {-1, 3}, "(edges, 3)");
  const int64_t edges = o.directions.size(0);
  check_shape(o.w, "w", {edges, o.table.num_paths(), o.x.size(2)},
              "(edges, paths, channels)");
  const int32_t lmax = std::max(degree_of(o.x.size(1), "x"),
                                degree_of(o.table.num_outputs, "messages"));
  check_shape(o.rotations, "rotations", {edges, -1}, "(edges, as edge_rotations gives)");
  EQUIPOT_CHECK(o.rotations.size(1) >= rotation_size(lmax), "rotations must be those of "
                "degrees up to ", lmax, ", ", rotation_size(lmax),
                " numbers for each edge, got ", o.rotations.size(1));
  EQUIPOT_CHECK(!o.table.concat, "paths to a degree are summed in the frame of an edge; "
                  "for concat=True call equipot::convolve");
  check_table(o.table, type, kCpu);
  check_topology(o.topology, o.x.size(0), edges, kCpu);
  check_edges(o.topology, o.x.size(0), edges);
}

// Paths grouped into mixings, and the factors of their weights.
template <class S>
struct Constants {
  std::vector<Mixing> mixings;
  std::vector<S> factors;
};

struct Degrees {
  int64_t in, filter, out;
  bool odd() const { return (in + filter + out) % 2 != 0; }
  int64_t least() const { return std::min(in, out); }
};

std::vector<Degrees> degrees_of(const Table& table, int64_t lmax_in, int64_t lmax_out) {
  std::vector<Degrees> degrees;
  for (std::size_t n = 0; n < table.paths.size(); n += 3) {
    const Degrees path{table.paths[n], table.paths[n + 1], table.paths[n + 2]};
    EQUIPOT_CHECK(0 <= path.in && path.in <= lmax_in && 0 <= path.out &&
                      path.out <= lmax_out && path.filter >= 0,
                  "paths must lead from degrees up to ", lmax_in, " to degrees up to ",
                  lmax_out, ", got (", path.in, ", ", path.filter, ", ", path.out, ")");
    degrees.push_back(path);
  }
  return degrees;
}

// Factors [path][m] of the weights for 0 <= m <= min(l_in, l_out): the element of the
// path matrix in the edge frame, where the only nonzero harmonic is m = 0 with value
// sqrt(2 l_filter + 1).
std::vector<std::vector<double>> factors_of(const Table& table,
                                            const std::vector<Degrees>& paths) {
  std::vector<std::vector<double>> factors;
  for (const Degrees& path : paths) factors.emplace_back(path.least() + 1, 0.0);
  const int32_t* columns = data<int32_t>(table.columns);
  const std::vector<Element> elements = elements_of_nonzeros(table);
  for (std::size_t q = 0; q < elements.size(); ++q) {
    const Degrees& path = paths[elements[q].path];
    if (columns[q] != path.filter * path.filter + path.filter) continue;
    const int64_t m = elements[q].row - path.in;
    const int64_t k = elements[q].column - path.out;
    EQUIPOT_CHECK(k == (path.odd() ? -m : m), "values must be coupling coefficients: along y, "
                  "component ", m, " couples only to ", path.odd() ? -m : m, ", not to ",
                  k);
    if (m < 0) continue;
    const double value = table.values.scalar_type() == ScalarType::Float
                             ? static_cast<double>(data<float>(table.values)[q])
                             : data<double>(table.values)[q];
    factors[elements[q].path][m] = value * std::sqrt(2.0 * path.filter + 1);
  }
  return factors;
}

template <class S>
Constants<S> constants_of(const So2Operands& o) {
  const std::vector<Degrees> paths =
      degrees_of(o.table, degree_of(o.x.size(1), "x"),
                 degree_of(o.table.num_outputs, "messages"));
  const std::vector<std::vector<double>> factors = factors_of(o.table, paths);
  // path indices with equal l_in, l_out and parity, at a constant stride
  std::vector<std::vector<int32_t>> members;
  for (std::size_t n = 0; n < paths.size(); ++n) {
    const int32_t path = static_cast<int32_t>(n);
    const auto joins = [&](const std::vector<int32_t>& member) {
      const Degrees& other = paths[member.front()];
      return other.in == paths[n].in && other.out == paths[n].out &&
             other.odd() == paths[n].odd() &&
             (member.size() == 1 || path - member.back() == member[1] - member[0]);
    };
    // append the path to the last compatible mixing, or start a new mixing
    const auto found = std::find_if(members.rbegin(), members.rend(), joins);
    if (found == members.rend()) {
      members.push_back({path});
    } else {
      found->push_back(path);
    }
  }
  Constants<S> constants;
  for (const std::vector<int32_t>& member : members) {
    const Degrees& path = paths[member.front()];
    Mixing mixing{};
    mixing.l_in = static_cast<int32_t>(path.in);
    mixing.l_out = static_cast<int32_t>(path.out);
    mixing.first = member.front();
    mixing.step = member.size() == 1 ? 1 : member[1] - member[0];
    mixing.count = static_cast<int32_t>(member.size());
    mixing.factors = static_cast<int32_t>(constants.factors.size());
    mixing.odd = path.odd();
    constants.mixings.push_back(mixing);
    for (const int32_t n : member) {
      constants.factors.insert(constants.factors.end(), factors[n].begin(),
                               factors[n].end());
    }
  }
  return constants;
}

// Sets the arguments common to all kernels. `constants` must outlive the result.
template <class S>
So2Convolution<S> convolution_of(const So2Operands& o, const Constants<S>& constants) {
  So2Convolution<S> c{};
  c.mixings = constants.mixings.data();
  c.num_mixings = static_cast<int32_t>(constants.mixings.size());
  c.factors = constants.factors.data();
  c.num_paths = static_cast<int32_t>(o.table.num_paths());
  c.lmax_in = degree_of(o.x.size(1), "x");
  c.lmax_out = degree_of(o.table.num_outputs, "messages");
  c.channels = o.x.size(2);
  c.rotations = data<S>(o.rotations);
  c.rotation_size = o.rotations.size(1);
  c.x = data<S>(o.x);
  c.w = data<S>(o.w);
  c.senders = data<int64_t>(o.topology.senders);
  c.receivers = data<int64_t>(o.topology.receivers);
  c.pointers = data<int64_t>(o.topology.receiver_pointers);
  return c;
}

Tensor convolve(const So2Operands& o) {
  check_operands(o);
  const int64_t nodes = o.x.size(0);
  Tensor z = torch::stable::new_empty(o.x, {nodes, o.table.num_outputs, o.x.size(2)});
  with_type_of(o.x, [&](auto zero) {
    using S = decltype(zero);
    const auto constants = constants_of<S>(o);
    So2Convolution<S> c = convolution_of<S>(o, constants);
    c.z = mutable_data<S>(z);
    const auto kernel = EQUIPOT_SELECT(so2_convolve<S>);
    for_ranges_of_nodes<S>(nodes, c.pointers, EQUIPOT_SELECT(so2_scratch<S>)(c),
                           [&](int64_t first, int64_t last, S* memory) {
                             kernel(c, first, last, memory);
                           });
  });
  return z;
}

std::tuple<Tensor, Tensor, Tensor> backward(const So2Operands& o, const Tensor& g) {
  check_operands(o);
  check_messages(g, o.x, o.table, kCpu);
  Tensor x_bar = result_like(o.x);
  Tensor directions_bar = result_like(o.directions);
  Tensor w_bar = result_like(o.w);
  with_type_of(o.x, [&](auto zero) {
    using S = decltype(zero);
    const auto constants = constants_of<S>(o);
    So2Convolution<S> c = convolution_of<S>(o, constants);
    c.g = data<S>(g);
    c.pointers = data<int64_t>(o.topology.sender_pointers);
    c.order = data<int64_t>(o.topology.sender_order);
    c.x_bar = mutable_data<S>(x_bar);
    c.directions_bar = mutable_data<S>(directions_bar);
    c.w_bar = mutable_data<S>(w_bar);
    const auto kernel = EQUIPOT_SELECT(so2_convolve_backward<S>);
    for_ranges_of_nodes<S>(o.x.size(0), c.pointers, EQUIPOT_SELECT(so2_scratch<S>)(c),
                           [&](int64_t first, int64_t last, S* memory) {
                             kernel(c, first, last, memory);
                           });
  });
  return {x_bar, directions_bar, w_bar};
}

// Consecutive nodes whose received edges fit into the buffer of gradients of x; at least
// one node.
struct Slab {
  int64_t first, last;  // nodes first, ..., last - 1
};

std::vector<Slab> slabs_of(int64_t nodes, const int64_t* pointers, int64_t most_edges) {
  std::vector<Slab> slabs;
  for (int64_t first = 0; first < nodes; first = slabs.back().last) {
    int64_t last = first + 1;
    while (last < nodes && pointers[last + 1] - pointers[first] <= most_edges) ++last;
    slabs.push_back({first, last});
  }
  return slabs;
}

// Gradients of x are first written to a buffer per edge that fits into the L2 caches,
// parallel over receivers, and then added to the senders, parallel over components. Each
// component is summed in the order of the edges, so that the result does not depend on
// the number of threads.
template <class S>
void run_double_backward(const So2Convolution<S>& c, int64_t nodes) {
  constexpr int64_t kBytesPerThread = 2 << 20;
  const int64_t size = EQUIPOT_SELECT(sent_size<S>)(c);
  const int64_t scratch = EQUIPOT_SELECT(so2_scratch<S>)(c);
  const auto kernel = EQUIPOT_SELECT(so2_convolve_double_backward<S>);
  const auto add = EQUIPOT_SELECT(add_to_senders<S>);
  const int64_t rows = components(c.lmax_in);
  const int64_t bytes = torch::stable::get_num_threads() * kBytesPerThread;
  const std::vector<Slab> slabs =
      slabs_of(nodes, c.pointers, bytes / (size * static_cast<int64_t>(sizeof(S))));
  int64_t most = 0;
  for (const Slab& slab : slabs) {
    most = std::max(most, c.pointers[slab.last] - c.pointers[slab.first]);
  }
  const auto sent = zeroed<S>(most * size);
  std::fill_n(c.x_bar, nodes * rows * c.channels, S(0));
  for (const Slab& slab : slabs) {
    const int64_t first_edge = c.pointers[slab.first], last_edge = c.pointers[slab.last];
    for_ranges_of_nodes<S>(
        slab.last - slab.first, c.pointers + slab.first, scratch,
        [&](int64_t first, int64_t last, S* memory) {
          kernel(c, slab.first + first, slab.first + last, first_edge, sent.get(), memory);
        });
    torch::stable::parallel_for(0, rows, 1, [&](int64_t first, int64_t last) {
      add(c, sent.get(), first_edge, last_edge, first, last);
    });
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor> double_backward(const So2Operands& o,
                                                           const Tensor& g,
                                                           const Tensor& x_dot,
                                                           const Tensor& directions_dot,
                                                           const Tensor& w_dot) {
  check_operands(o);
  check_messages(g, o.x, o.table, kCpu);
  const Tensor x_tangent = tangent_of(o.x, x_dot, "x_dot", "x");
  const Tensor directions_tangent =
      tangent_of(o.directions, directions_dot, "directions_dot", "directions");
  // kernels skip the terms of an absent weight tangent
  const bool zero = is_absent(w_dot, o.w);
  const Tensor w_tangent = zero ? w_dot : tangent_of(o.w, w_dot, "w_dot", "w");
  Tensor x_bar = result_like(o.x);
  Tensor directions_bar = result_like(o.directions);
  Tensor w_bar = result_like(o.w);
  Tensor g_bar = result_like(g);
  with_type_of(o.x, [&](auto zero) {
    using S = decltype(zero);
    const auto constants = constants_of<S>(o);
    So2Convolution<S> c = convolution_of<S>(o, constants);
    c.g = data<S>(g);
    c.x_dot = data<S>(x_tangent);
    c.directions_dot = data<S>(directions_tangent);
    c.w_dot = zero ? nullptr : data<S>(w_tangent);
    c.x_bar = mutable_data<S>(x_bar);
    c.directions_bar = mutable_data<S>(directions_bar);
    c.w_bar = mutable_data<S>(w_bar);
    c.g_bar = mutable_data<S>(g_bar);
    run_double_backward(c, o.x.size(0));
  });
  return {x_bar, directions_bar, w_bar, g_bar};
}

// Coefficients of the recurrence of so2_rotations_kernels.cpp, (lmax + 1)^2 for each
// degree.
struct Coefficients {
  std::vector<double> start, a, b, c;

  explicit Coefficients(int32_t lmax) {
    const int32_t size = lmax + 1;
    start.assign(size * size, 0);
    for (std::vector<double>* table : {&a, &b, &c}) table->assign(size * size * size, 0);
    for (int32_t l = 1; l <= lmax; ++l) {
      double binomial = 1;  // binomial coefficient (2 l, l + m), from m = l down to 0
      for (int32_t m = l; m >= 0; --m) {
        start[l * size + m] = std::sqrt(binomial) * std::pow(0.5, l - m);
        if (m == 0) start[l * size + m] *= std::sqrt(0.5);
        binomial *= static_cast<double>(l + m) / (l - m + 1);
      }
      for (int32_t m = 0; m < l; ++m) {
        for (int32_t k = 0; k < l; ++k) set(l, m, k, (l * size + m) * size + k);
      }
    }
  }

 private:
  void set(double l, double m, double k, int32_t at) {
    const double below = l - 1;
    const double norm = std::sqrt((l * l - m * m) * (l * l - k * k));
    a[at] = (2 * l - 1) * l / norm;
    if (below == 0) return;
    b[at] = (2 * l - 1) * m * k / (below * norm);
    c[at] = l * std::sqrt(std::max(0.0, (below * below - m * m) * (below * below - k * k))) /
            (below * norm);
  }
};

Tensor edge_rotations(const Tensor& directions, int64_t lmax) {
  check_floating(directions, "directions");
  check_tensor(directions, "directions", directions.scalar_type(), kCpu);
  check_shape(directions, "directions", {-1, 3}, "(edges, 3)");
  EQUIPOT_CHECK(0 <= lmax && lmax <= kMaxDegree, "lmax must be in 0 to ", kMaxDegree,
                ", got ", lmax);
  const int64_t edges = directions.size(0);
  Tensor rotations = torch::stable::new_empty(directions, {edges, rotation_size(lmax)});
  const Coefficients coefficients(static_cast<int32_t>(lmax));
  const RotationRecurrence recurrence{static_cast<int32_t>(lmax),
                                      coefficients.start.data(), coefficients.a.data(),
                                      coefficients.b.data(), coefficients.c.data()};
  with_type_of(directions, [&](auto zero) {
    using S = decltype(zero);
    const auto kernel = EQUIPOT_SELECT(edge_rotations<S>);
    const S* from = data<S>(directions);
    S* to = mutable_data<S>(rotations);
    torch::stable::parallel_for(0, edges, 256, [&](int64_t first, int64_t last) {
      kernel(recurrence, from, first, last, to);
    });
  });
  return rotations;
}

#define EQUIPOT_OPERANDS  \
  EQUIPOT_TAKE_CONSTANTS; \
  const So2Operands operands{x, directions, w, rotations, topology, table};

Tensor so2_convolve_op(const Tensor& x, const Tensor& directions, const Tensor& w,
                       const Tensor& rotations, EQUIPOT_CONSTANTS) {
  EQUIPOT_OPERANDS
  return convolve(operands);
}

std::tuple<Tensor, Tensor, Tensor> so2_convolve_backward_op(
    const Tensor& x, const Tensor& directions, const Tensor& w, const Tensor& g,
    const Tensor& rotations, EQUIPOT_CONSTANTS) {
  EQUIPOT_OPERANDS
  return backward(operands, g);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> so2_convolve_double_backward_op(
    const Tensor& x, const Tensor& directions, const Tensor& w, const Tensor& g,
    const Tensor& x_dot, const Tensor& directions_dot, const Tensor& w_dot,
    const Tensor& rotations, EQUIPOT_CONSTANTS) {
  EQUIPOT_OPERANDS
  return double_backward(operands, g, x_dot, directions_dot, w_dot);
}

}  // namespace
}  // namespace equipot

STABLE_TORCH_LIBRARY_IMPL(equipot, CPU, m) {
  m.impl("edge_rotations", TORCH_BOX(&equipot::edge_rotations));
  m.impl("so2_convolve", TORCH_BOX(&equipot::so2_convolve_op));
  m.impl("so2_convolve_backward", TORCH_BOX(&equipot::so2_convolve_backward_op));
  m.impl("so2_convolve_double_backward",
         TORCH_BOX(&equipot::so2_convolve_double_backward_op));
}
