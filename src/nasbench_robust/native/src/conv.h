// Convolutions of one block of images, forwards and backwards.
//
// Arrays are [channel][row][column] of Vec. A tile of kTile columns of a few output channels stays in registers while
// all weights that reach it pass by; a weight is one float that the multiplication spreads over the lanes. Padding
// costs nothing: multiplications with it are left out.
#pragma once

#include <type_traits>

#include "sums.h"

namespace engine {

template <int N>
using Constant = std::integral_constant<int, N>;

// Call f(Constant<C>, start) for full groups of C channels, then one by one for the rest.
template <int C, class F>
inline void in_groups(int channels, F f) {
  int start = 0;
  for (; start + C <= channels; start += C) f(Constant<C>(), start);
  for (; start < channels; ++start) f(Constant<1>(), start);
}

// Call f(Constant<T>) with the widest tile of at most Most columns that divides a row.
template <int Most, class F>
inline void with_tile(int columns, F f) {
  if constexpr (Most == 1) {
    f(Constant<1>());
  } else {
    if (columns % Most == 0) return f(Constant<Most>());
    with_tile<Most / 2>(columns, f);
  }
}

// Whether the tile lies at the left or right end of its row, as types: f(first, last, column).
template <int T, class F>
inline void along_row(int columns, F f) {
  using Yes = std::true_type;
  using No = std::false_type;
  if (columns == T) return f(Yes(), Yes(), 0);
  f(Yes(), No(), 0);
  for (int column = T; column + T < columns; column += T) f(No(), No(), column);
  f(No(), Yes(), columns - T);
}

// Start value of sums: zero or what is there, plus the channel's bias.
template <int C, int T>
inline void start_sums(Vec (&sums)[C][T], const Vec* out, std::size_t stride, const float* bias, bool add) {
  for (int j = 0; j < C; ++j) {
    Vec b = all(bias ? bias[j] : 0.f);
    for (int p = 0; p < T; ++p) sums[j][p] = add ? out[j * stride + p] + b : b;
  }
}

template <int C, int T>
inline void store_sums(const Vec (&sums)[C][T], Vec* out, std::size_t stride) {
  for (int j = 0; j < C; ++j)
    for (int p = 0; p < T; ++p) out[j * stride + p] = sums[j][p];
}

// out (+)= bias + 3x3 convolution of x, stride 1, padding 1. weights: [out][in][3][3]; bias may be null.
// The gradient with respect to x is the same with the weights transposed and turned around.
inline void conv3x3(const Vec* x, const float* weights, const float* bias, Vec* out, int ins, int outs, int size,
                    bool add) {
  const std::size_t area = std::size_t(size) * size;
  with_tile<kTile>(size, [&](auto tile) {
    constexpr int T = tile();
    in_groups<kSums / T>(outs, [&](auto group, int start) {
      constexpr int C = group();
      for (int row = 0; row < size; ++row) {
        along_row<T>(size, [&](auto first, auto last, int column) {
          Vec* target = out + start * area + row * size + column;
          Vec sums[C][T];
          start_sums(sums, target, area, bias ? bias + start : nullptr, add);
          const int low = row == 0 ? 1 : 0, high = row == size - 1 ? 2 : 3;
          for (int c = 0; c < ins; ++c) {
            for (int k = low; k < high; ++k) {
              const Vec* source = x + c * area + (row + k - 1) * size + column;
              Vec pixels[T];
              for (int p = 0; p < T; ++p) pixels[p] = source[p];
              for (int j = 0; j < C; ++j) {
                const float* w = weights + (std::size_t(start + j) * ins + c) * 9 + k * 3;
                for (int p = 0; p < T; ++p) sums[j][p] += w[1] * pixels[p];
                for (int p = 1; p < T; ++p) sums[j][p] += w[0] * pixels[p - 1];
                for (int p = 0; p + 1 < T; ++p) sums[j][p] += w[2] * pixels[p + 1];
                if constexpr (!first()) sums[j][0] += w[0] * source[-1];
                if constexpr (!last()) sums[j][T - 1] += w[2] * source[T];
              }
            }
          }
          store_sums(sums, target, area);
        });
      }
    });
  });
}

// out (+)= bias + 1x1 convolution of x. weights: [out][in].
inline void conv1x1(const Vec* x, const float* weights, const float* bias, Vec* out, int ins, int outs, int size,
                    bool add) {
  const int area = size * size;
  with_tile<4>(area, [&](auto tile) {
    constexpr int T = tile();
    in_groups<kSums / T>(outs, [&](auto group, int start) {
      constexpr int C = group();
      for (int p0 = 0; p0 < area; p0 += T) {
        Vec* target = out + start * area + p0;
        Vec sums[C][T];
        start_sums(sums, target, area, bias ? bias + start : nullptr, add);
        for (int c = 0; c < ins; ++c) {
          for (int j = 0; j < C; ++j) {
            const float w = weights[(start + j) * ins + c];
            for (int p = 0; p < T; ++p) sums[j][p] += w * x[c * area + p0 + p];
          }
        }
        store_sums(sums, target, area);
      }
    });
  });
}

// out (+)= bias + 3x3 convolution of x, stride 2, padding 1; `size` is x's, an even number.
inline void conv3x3_halving(const Vec* x, const float* weights, const float* bias, Vec* out, int ins, int outs,
                            int size, bool add) {
  const int half = size / 2;
  const std::size_t area = std::size_t(size) * size, half_area = std::size_t(half) * half;
  with_tile<4>(half, [&](auto tile) {
    constexpr int T = tile();
    in_groups<kSums / T>(outs, [&](auto group, int start) {
      constexpr int C = group();
      for (int row = 0; row < half; ++row) {
        along_row<T>(half, [&](auto first, auto, int column) {
          Vec* target = out + start * half_area + row * half + column;
          Vec sums[C][T];
          start_sums(sums, target, half_area, bias ? bias + start : nullptr, add);
          for (int c = 0; c < ins; ++c) {
            for (int k = row == 0 ? 1 : 0; k < 3; ++k) {
              const Vec* source = x + c * area + (2 * row + k - 1) * size + 2 * column;
              for (int j = 0; j < C; ++j) {
                const float* w = weights + (std::size_t(start + j) * ins + c) * 9 + k * 3;
                for (int p = 0; p < T; ++p) sums[j][p] += w[1] * source[2 * p];
                for (int p = 0; p < T; ++p) sums[j][p] += w[2] * source[2 * p + 1];
                for (int p = first() ? 1 : 0; p < T; ++p) sums[j][p] += w[0] * source[2 * p - 1];
              }
            }
          }
          store_sums(sums, target, half_area);
        });
      }
    });
  });
}

// gradient (+)= that of conv3x3_halving with respect to its input, of channels `outs` and side `size`, given that of
// its output, `ins` channels. weights: [outs][ins][3][3], transposed and turned around as for conv3x3.
inline void conv3x3_halving_back(const Vec* output, const float* weights, Vec* gradient, int ins, int outs, int size,
                                 bool add) {
  const int half = size / 2;
  const std::size_t area = std::size_t(size) * size, half_area = std::size_t(half) * half;
  with_tile<kTile / 2>(half, [&](auto tile) {
    constexpr int T = tile();
    in_groups<kSums / (2 * T)>(outs, [&](auto group, int start) {
      constexpr int C = group();
      for (int row = 0; row < size; ++row) {
        along_row<T>(half, [&](auto, auto last, int column) {
          Vec* target = gradient + start * area + row * size + 2 * column;
          Vec sums[C][2 * T];
          start_sums(sums, target, area, nullptr, add);
          // An even row 2h met the middle row of the kernel at output row h; an odd one, 2h + 1, met the last row of
          // the kernel at h and its first one at h + 1. In the turned weights, row k of the kernel is row 2 - k.
          const int odd = row & 1;
          for (int step = 0; step < 1 + odd; ++step) {
            const int source_row = row / 2 + step, k = odd ? 2 * step : 1;
            if (source_row >= half) continue;
            for (int c = 0; c < ins; ++c) {
              const Vec* source = output + c * half_area + source_row * half + column;
              for (int j = 0; j < C; ++j) {
                const float* w = weights + (std::size_t(start + j) * ins + c) * 9 + k * 3;
                for (int p = 0; p < T; ++p) sums[j][2 * p] += w[1] * source[p];
                for (int p = 0; p < T; ++p) sums[j][2 * p + 1] += w[0] * source[p];
                for (int p = 0; p + 1 < T; ++p) sums[j][2 * p + 1] += w[2] * source[p + 1];
                if constexpr (!last()) sums[j][2 * T - 1] += w[2] * source[T];
              }
            }
          }
          store_sums(sums, target, area);
        });
      }
    });
  });
}

// Some of the channels of a tensor.
struct Channels {
  int begin, end, all;
};

// gradient = that of a 3x3 convolution of stride Stride with respect to its weights, [out][in][3][3], summed over
// `blocks` blocks, for some inputs and outputs; `size` is that of x.
template <int Stride>
inline void conv3x3_weights(const Vec* x, const Vec* output, float* gradient, Channels ins, Channels outs, int size,
                            int blocks) {
  const int columns = size / Stride;
  const std::size_t area = std::size_t(size) * size, out_area = std::size_t(columns) * columns;
  in_groups<kSums / 4>(outs.end - outs.begin, [&](auto group, int offset) {
    constexpr int C = group();
    const int start = outs.begin + offset;
    for (int c = ins.begin; c < ins.end; ++c) {
      for (int k = 0; k < 3; ++k) {
        Vec sums[C][3] = {}, wholes[C][3] = {};
        const auto add_rows = [&](int block, std::size_t begin, std::size_t end) {
          const Vec* from = x + (std::size_t(block) * ins.all + c) * area;
          const Vec* to = output + (std::size_t(block) * outs.all + start) * out_area;
          for (int row = int(begin); row < int(end); ++row) {
            const int source_row = Stride * row + k - 1;
            if (source_row < 0 || source_row >= size) continue;
            const Vec* source = from + source_row * size;
            const Vec* slope = to + row * columns;
            const auto add_pixel = [&](int p, auto left, auto right) {
              for (int j = 0; j < C; ++j) {
                const Vec d = slope[j * out_area + p];
                if constexpr (left()) sums[j][0] += d * source[Stride * p - 1];
                sums[j][1] += d * source[Stride * p];
                if constexpr (right()) sums[j][2] += d * source[Stride * p + 1];
              }
            };
            along_row<1>(columns, [&](auto first, auto last, int p) {
              using Left = std::bool_constant<!first()>;
              using Right = std::bool_constant<!last() || Stride == 2>;  // twice as many columns as sums
              add_pixel(p, Left(), Right());
            });
          }
        };
        in_chunks(blocks, columns, std::max(1, kChunk / columns), add_rows, [&] { carry(sums, wholes); });
        for (int j = 0; j < C; ++j)
          for (int t = 0; t < 3; ++t) gradient[(std::size_t(start + j) * ins.all + c) * 9 + k * 3 + t] = sum(wholes[j][t]);
      }
    }
  });
}

// The same of a 1x1 convolution, [out][in].
inline void conv1x1_weights(const Vec* x, const Vec* output, float* gradient, Channels ins, Channels outs, int size,
                            int blocks) {
  const std::size_t area = std::size_t(size) * size;
  in_groups<kSums / 4>(outs.end - outs.begin, [&](auto group, int offset) {
    constexpr int C = group();
    const int start = outs.begin + offset;
    in_groups<4>(ins.end - ins.begin, [&](auto sources, int other) {
      constexpr int D = sources();
      const int first = ins.begin + other;
      Vec sums[C][D] = {}, wholes[C][D] = {};
      const auto add_pixels = [&](int block, std::size_t begin, std::size_t end) {
        const Vec* from = x + (std::size_t(block) * ins.all + first) * area;
        const Vec* to = output + (std::size_t(block) * outs.all + start) * area;
        for (std::size_t p = begin; p < end; ++p)
          for (int j = 0; j < C; ++j)
            for (int i = 0; i < D; ++i) sums[j][i] += to[j * area + p] * from[i * area + p];
      };
      in_chunks(blocks, area, kChunk, add_pixels, [&] { carry(sums, wholes); });
      for (int j = 0; j < C; ++j)
        for (int i = 0; i < D; ++i) gradient[std::size_t(start + j) * ins.all + first + i] = sum(wholes[j][i]);
    });
  });
}

}  // namespace engine
