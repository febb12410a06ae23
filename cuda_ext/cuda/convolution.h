// Host code: runs the convolution kernels on a GPU.
#pragma once

#include "problem.h"

namespace equipot {

// Launches one pass on a stream (a cudaStream_t) of the current device.
// Direction::kReceive writes `messages`, Direction::kSend writes the gradients `x_bar`,
// `y_bar` and `w_bar`. With tangents both write the directional derivatives of these
// results along the tangents. Throws std::runtime_error if a launch fails or the
// product is not supported.
template <typename Scalar, bool kTangents>
void convolve(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    void* stream);

}  // namespace equipot
