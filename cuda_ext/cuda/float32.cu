// Instantiation of the forward and backward passes of the convolution for float32.
#include "convolution.cuh"

template void equipot::convolve<float, false>(
    Direction, const Problem<float>&, const PathList&, void*);
