#include "layers.h"

#include "conv.h"

namespace engine {

void turn(const Convolution& c, const float* weights, float* turned) {
  const int taps = c.kernel * c.kernel;
  for (int o = 0; o < c.outs; ++o)
    for (int i = 0; i < c.ins; ++i)
      for (int t = 0; t < taps; ++t)
        turned[(i * c.outs + o) * taps + taps - 1 - t] = weights[(o * c.ins + i) * taps + t];
}

void convolve(const Convolution& c, const Vec* x, const float* weights, const float* bias, Vec* out, bool add) {
  if (c.kernel == 1) conv1x1(x, weights, bias, out, c.ins, c.outs, c.size, add);
  else if (c.stride == 1) conv3x3(x, weights, bias, out, c.ins, c.outs, c.size, add);
  else conv3x3_halving(x, weights, bias, out, c.ins, c.outs, c.size, add);
}

void convolve_back(const Convolution& c, const Vec* output, const float* turned, Vec* gradient, bool add) {
  if (c.kernel == 1) conv1x1(output, turned, nullptr, gradient, c.outs, c.ins, c.size, add);
  else if (c.stride == 1) conv3x3(output, turned, nullptr, gradient, c.outs, c.ins, c.size, add);
  else conv3x3_halving_back(output, turned, gradient, c.outs, c.ins, c.size, add);
}

void weight_gradient(const Convolution& c, const Vec* x, const Vec* output, float* gradient, int blocks) {
  if (c.kernel == 1) conv1x1_weights(x, output, gradient, c.ins, c.outs, c.size, blocks);
  else if (c.stride == 1) conv3x3_weights<1>(x, output, gradient, c.ins, c.outs, c.size, blocks);
  else conv3x3_weights<2>(x, output, gradient, c.ins, c.outs, c.size, blocks);
}

}  // namespace engine
