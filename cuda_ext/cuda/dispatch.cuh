// Host code: selection of the kernel for a product, and its launch configuration.
//
// A launcher launches kernels on a GPU or in the simulator. It provides the maximum
// number of blocks, of warps per block, and of bytes of shared memory per block, and is
// called with a kernel, a shape and the arguments of the kernel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "plan.h"
#include "problem.h"
#include "product.cuh"
#include "table_driven.cuh"
#include "unrolled.cuh"

namespace equipot {

// Launch configuration: blocks of the grid, warps and bytes of shared memory per block.
struct Shape {
  int64_t blocks;
  int warps;
  int64_t shared_bytes;
};

template <class... Products>
struct ProductList {};

// Products with unrolled kernels: the convolutions of networks with lmax 1, 2 and 3. If
// l_in or l_out is zero, there are no couplings with an odd sum of degrees.
using UnrolledProducts = ProductList<
    Product<0, 1, 1, false>, Product<1, 1, 1, false>, Product<1, 1, 1, true>,
    Product<1, 1, 0, false>, Product<0, 2, 2, false>, Product<2, 2, 2, false>,
    Product<2, 2, 2, true>, Product<2, 2, 0, false>, Product<0, 3, 3, false>,
    Product<3, 3, 3, false>, Product<3, 3, 3, true>, Product<3, 3, 0, false>>;

// Whether the paths and sizes of a problem are those of Product.
template <class Product, typename Scalar>
bool computes(const Problem<Scalar>& problem, const PathList& paths) {
  if (paths.concat || paths.count != Product::num_paths() ||
      problem.inputs != Product::kInputs || problem.harmonics != Product::kHarmonics ||
      problem.outputs != Product::kOutputs) {
    return false;
  }
  for (int p = 0; p < Product::num_paths(); ++p) {
    const Path path = Product::path(p);
    if (paths.l_in(p) != path.l_in || paths.l_filter(p) != path.l_filter ||
        paths.l_out(p) != path.l_out) {
      return false;
    }
  }
  return true;
}

template <class Product, bool kTangents, typename Scalar, class Launcher>
bool launch_if_computed(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    const Launcher& launch) {
  if (!computes<Product>(problem, paths)) return false;
  const int warps = launch.max_warps();
  const Shape shape{
      std::min(problem.num_nodes, launch.max_blocks()), warps,
      UnrolledLayout<Product, Scalar, kTangents>::bytes(warps)};
  if (direction == Direction::kReceive) {
    launch(receive_unrolled<Product, Scalar, kTangents>, shape, problem);
  } else {
    launch(send_unrolled<Product, Scalar, kTangents>, shape, problem);
  }
  return true;
}

// Launches the unrolled kernel for these paths. Returns false if there is none.
template <bool kTangents, typename Scalar, class Launcher, class... Products>
bool launch_unrolled(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    const Launcher& launch, ProductList<Products...>) {
  return (
      launch_if_computed<Products, kTangents>(direction, problem, paths, launch) || ...);
}

// Launches the table-driven kernel, with as many warps per block as shared memory
// permits. Throws std::runtime_error if it is insufficient for one warp.
template <bool kTangents, typename Scalar, class Launcher>
void launch_by_table(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    const Launcher& launch) {
  const bool receive = direction == Direction::kReceive;
  const Plan plan = make_plan(paths, problem.outputs, /*windowed=*/receive);
  const TableLayout<Scalar, kTangents> layout(plan, problem, direction);
  int warps = launch.max_warps();
  while (warps > 1 && layout.bytes(warps) > launch.max_shared_bytes()) warps /= 2;
  if (layout.bytes(warps) > launch.max_shared_bytes()) {
    throw std::runtime_error(
        "equipot: this product needs " + std::to_string(layout.bytes(1)) +
        " bytes of shared memory, but a block of this GPU has " +
        std::to_string(launch.max_shared_bytes()) + "; use smaller degrees");
  }
  const Shape shape{
      std::min(problem.num_nodes, launch.max_blocks()), warps, layout.bytes(warps)};
  if (receive) {
    launch(receive_by_table<Scalar, kTangents>, shape, problem, plan);
  } else {
    launch(send_by_table<Scalar, kTangents>, shape, problem, plan);
  }
}

// Launches one pass over the edges. Precondition: problem.num_nodes > 0.
template <bool kTangents, typename Scalar, class Launcher>
void launch_convolution(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    const Launcher& launch) {
  if (!launch_unrolled<kTangents>(
          direction, problem, paths, launch, UnrolledProducts{})) {
    launch_by_table<kTangents>(direction, problem, paths, launch);
  }
}

}  // namespace equipot
