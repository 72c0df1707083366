// Convolutions of any kind that a plan has; the kernels behind them are compiled once, here.
#pragma once

#include "plan.h"
#include "vec.h"

namespace engine {

// The weights of the convolution's transpose: channels swapped, kernel turned around.
void turn(const Convolution& c, const float* weights, float* turned);
// out (+)= bias + convolution of one block; bias may be null.
void convolve(const Convolution& c, const Vec* x, const float* weights, const float* bias, Vec* out, bool add);
// gradient (+)= that with respect to the input of one block, given that of the output.
void convolve_back(const Convolution& c, const Vec* output, const float* turned, Vec* gradient, bool add);
// gradient = that with respect to the weights, summed over blocks.
void weight_gradient(const Convolution& c, const Vec* x, const Vec* output, float* gradient, int blocks);

}  // namespace engine
