// Host: runs the kernels of the convolution on a GPU.
#pragma once

#include "problem.h"

namespace equipot {

// Starts one pass on a stream of the present device, a cudaStream_t. Receiving writes
// `messages`, sending writes the derivatives `x_bar`, `y_bar` and `w_bar`; with tangents
// both write those of the derivatives. Throws std::runtime_error if it cannot.
template <typename Scalar, bool kTangents>
void convolve(
    Direction direction, const Problem<Scalar>& problem, const PathList& paths,
    void* stream);

}  // namespace equipot
