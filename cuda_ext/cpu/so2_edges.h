// Padded rows of an edge, and the tangent and gradient of its direction.
#pragma once

#include "padding.h"
#include "so2.h"
#include "so2_frame.h"
#include "so2_mixing.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

// Scratch space of a thread: zero-padded copies of rows whose channels do not fill whole
// vectors, and components in the edge frame.
template <class S>
struct Scratch {
  int64_t stride;
  S *x, *x_dot, *g, *w, *w_dot, *w_bar, *sum;
  void* frame;
  int64_t size;

  Scratch(const So2Convolution<S>& c, S* memory) : stride(padded<S>(c.channels)) {
    // arrays in the edge frame: five with feature components, four with message
    // components
    constexpr int kInputs = 5, kOutputs = 4;
    const int64_t inputs = (c.lmax_in + 1) * (c.lmax_in + 1);
    const int64_t outputs = (c.lmax_out + 1) * (c.lmax_out + 1);
    Parts<S> parts(memory);
    x = parts.take(inputs * stride);
    x_dot = parts.take(inputs * stride);
    g = parts.take(outputs * stride);
    w = parts.take(c.num_paths * stride);
    w_dot = parts.take(c.num_paths * stride);
    w_bar = parts.take(c.num_paths * stride);
    sum = parts.take((inputs > outputs ? inputs : outputs) * stride);
    frame = parts.take((kInputs * inputs + kOutputs * outputs) * stride);
    size = parts.size();
  }
};

// Cross product of the y axis and a vector, in the edge frame.
template <class S>
Horizontal<S> turned(const Horizontal<S>& vector) {
  return {vector.z, -vector.x};
}

// Infinitesimal rotation of the edge direction due to directions_dot: angles in rad about
// the x and z axes of the edge frame.
template <class S>
Horizontal<S> angle_of_motion(const So2Convolution<S>& c, int64_t edge) {
  if (c.rotation_size == 0) return {};
  return turned(vector_to_frame(c.rotations + edge * c.rotation_size,
                                c.directions_dot + 3 * edge));
}

// Component of the direction's tangent along the direction, n . n_dot.
template <class S>
S motion_along(const So2Convolution<S>& c, int64_t edge) {
  if (c.rotation_size == 0) return 0;
  const S* rotation = c.rotations + edge * c.rotation_size;
  const S* motion = c.directions_dot + 3 * edge;
  const S across = rotation[1] * motion[0] + rotation[0] * motion[2];
  return rotation[2] * motion[1] + rotation[3] * across;
}

// Writes the gradient with respect to the direction, y cross torque, in the global frame.
template <class S>
void store_direction_gradient(const So2Convolution<S>& c, int64_t edge,
                              const Horizontal<S>& torque) {
  S* gradient = c.directions_bar + 3 * edge;
  if (c.rotation_size == 0) {
    for (int n = 0; n < 3; ++n) gradient[n] = 0;
  } else {
    vector_from_frame(c.rotations + edge * c.rotation_size, turned(torque), gradient);
  }
}

}  // namespace
}  // namespace EQUIPOT_ISA
}  // namespace equipot
