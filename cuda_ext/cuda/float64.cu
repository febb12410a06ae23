// Instantiation of the forward and backward passes of the convolution for float64.
#include "convolution.cuh"

template void equipot::convolve<double, false>(
    Direction, const Problem<double>&, const PathList&, void*);
