// Gradients with respect to weights, one per image: what the lanes of a block hold is not summed, as it is in conv.h.
//
// The result has one row per weight, in the weights' order, with all images of all blocks side by side: rows of `stride`
// Vecs, of which a call fills one.
#pragma once

#include "conv.h"
#include "plan.h"

namespace engine {

// How many input and output channels share their pixels in registers; a tile of a 3x3 kernel's row keeps three sums.
constexpr int kTangentOuts = kSums / 4, kTangentIns = kSums / 8;

// Along one row of the output: sums[out][in][t] += output * input at column Stride * p + t - 1.
template <int Stride, int C, int D>
inline void tangents_along_row(Vec (&sums)[C][D][3], const Vec* source, std::size_t area, const Vec* slope,
                               std::size_t out_area, int columns) {
  const auto at = [&](int p, auto left, auto right) {
    for (int i = 0; i < D; ++i) {
      const Vec* x = source + i * area + Stride * p;
      for (int j = 0; j < C; ++j) {
        const Vec d = slope[j * out_area + p];
        if constexpr (left()) sums[j][i][0] += d * x[-1];
        sums[j][i][1] += d * x[0];
        if constexpr (right()) sums[j][i][2] += d * x[1];
      }
    }
  };
  using Yes = std::true_type;
  using No = std::false_type;
  // The input has Stride * columns pixels: with stride 2 the last output still has a right neighbour.
  if (columns == 1) return Stride == 1 ? at(0, No(), No()) : at(0, No(), Yes());
  at(0, No(), Yes());
  for (int p = 1; p + 1 < columns; ++p) at(p, Yes(), Yes());
  if (Stride == 1) at(columns - 1, Yes(), No());
  else at(columns - 1, Yes(), Yes());
}

// Of a 3x3 convolution, [out][in][3][3]; `size` is the side of x.
template <int Stride>
inline void conv3x3_tangents(const Vec* x, const Vec* output, Vec* tangents, std::size_t stride, int ins, int outs,
                             int size) {
  const int columns = size / Stride;
  const std::size_t area = std::size_t(size) * size, out_area = std::size_t(columns) * columns;
  in_groups<kTangentOuts>(outs, [&](auto group, int out) {
    in_groups<kTangentIns>(ins, [&](auto sources, int in) {
      for (int k = 0; k < 3; ++k) {
        Vec sums[group()][sources()][3] = {};
        for (int row = 0; row < columns; ++row) {
          const int source_row = Stride * row + k - 1;
          if (source_row < 0 || source_row >= size) continue;
          tangents_along_row<Stride>(sums, x + in * area + source_row * size, area,
                                     output + out * out_area + row * columns, out_area, columns);
        }
        for (int j = 0; j < group(); ++j)
          for (int i = 0; i < sources(); ++i)
            for (int t = 0; t < 3; ++t)
              tangents[((std::size_t(out + j) * ins + in + i) * 9 + k * 3 + t) * stride] = sums[j][i][t];
      }
    });
  });
}

// Of a 1x1 convolution, [out][in].
inline void conv1x1_tangents(const Vec* x, const Vec* output, Vec* tangents, std::size_t stride, int ins, int outs,
                             int size) {
  const std::size_t area = std::size_t(size) * size;
  in_groups<kTangentOuts>(outs, [&](auto group, int out) {
    in_groups<kTangentOuts>(ins, [&](auto sources, int in) {
      Vec sums[group()][sources()] = {};
      for (std::size_t p = 0; p < area; ++p)
        for (int j = 0; j < group(); ++j)
          for (int i = 0; i < sources(); ++i) sums[j][i] += output[(out + j) * area + p] * x[(in + i) * area + p];
      for (int j = 0; j < group(); ++j)
        for (int i = 0; i < sources(); ++i) tangents[(std::size_t(out + j) * ins + in + i) * stride] = sums[j][i];
    });
  });
}

// Of any convolution that a plan has.
inline void weight_tangents(const Convolution& c, const Vec* x, const Vec* output, Vec* tangents, std::size_t stride) {
  if (c.kernel == 1) conv1x1_tangents(x, output, tangents, stride, c.ins, c.outs, c.size);
  else if (c.stride == 1) conv3x3_tangents<1>(x, output, tangents, stride, c.ins, c.outs, c.size);
  else conv3x3_tangents<2>(x, output, tangents, stride, c.ins, c.outs, c.size);
}

// The upper triangle of J^T J, by blocks, for a matrix J of rows of `blocks` Vecs, added to an array of double.
class Gram {
 public:
  explicit Gram(int blocks) : blocks_(blocks), side_(std::size_t(blocks) * kLanes), sums_(side_ * side_, 0.) {}

  void add(const Vec* rows, std::size_t count) {
    // Few rows at a time: they stay in the cache, and the fp32 sums over them stay exact enough.
    constexpr std::size_t kRows = 256;
    for (std::size_t start = 0; start < count; start += kRows) {
      const std::size_t some = std::min(kRows, count - start);
      for (int a = 0; a < blocks_; ++a)
        for (int b = a; b < blocks_; ++b) add_pair(rows + start * blocks_, some, a, b);
    }
  }

  double at(std::size_t i, std::size_t j) const {
    return i / kLanes <= j / kLanes ? sums_[i * side_ + j] : sums_[j * side_ + i];
  }

 private:
  void add_pair(const Vec* rows, std::size_t count, int a, int b) {
    Vec sums[kLanes] = {};
    for (std::size_t row = 0; row < count; ++row) {
      const float* left = reinterpret_cast<const float*>(rows + row * blocks_ + a);
      const Vec right = rows[row * blocks_ + b];
      for (int lane = 0; lane < kLanes; ++lane) sums[lane] += left[lane] * right;
    }
    for (int i = 0; i < kLanes; ++i)
      for (int j = 0; j < kLanes; ++j) sums_[(std::size_t(a) * kLanes + i) * side_ + b * kLanes + j] += sums[i][j];
  }

  int blocks_;
  std::size_t side_;
  std::vector<double> sums_;
};

}  // namespace engine
