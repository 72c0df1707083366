// 3x3 convolutions of stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, CVPR 2016):
// a tile of 4x4 outputs takes 36 multiplications for each pair of channels instead of 144. Its transforms cost additions
// for each channel, not each pair, so that it pays from 16 channels on. Its sums are larger than the result: the error is
// about six times that of the direct convolution, 1e-6 of the result in the mean square.
//
// Tiles of inputs, 6x6 with an overlap of 2, are transformed, V = B^T d B; for each of the 36 points a product of
// matrices follows, M = U V over channels; tiles of outputs are Y = A^T M A. All of it is element-wise over the lanes.
#pragma once

#include "conv.h"
#include "plan.h"

namespace engine {

constexpr int kWinogradOut = 4, kWinogradIn = 6, kPoints = kWinogradIn * kWinogradIn;
constexpr int kLeastChannels = 16;
constexpr int kTiles = 4;  // at a time: what a tile becomes stays in the cache

inline bool is_winograd(const Convolution& c) {
  return c.kernel == 3 && c.stride == 1 && c.size % kWinogradOut == 0 && std::min(c.ins, c.outs) >= kLeastChannels;
}

// Vecs from one point's matrix to the next one's: not a multiple of 4 KiB, which would share its place in the cache.
inline std::size_t point_stride(int channels, int tiles) { return std::size_t(channels) * tiles + 3; }

// Vecs that winograd3x3 works in: the points of all inputs, and those of all outputs.
inline std::size_t winograd_scratch(int ins, int outs) {
  return kPoints * (point_stride(ins, kTiles) + point_stride(outs, kTiles));
}

// B^T of a column d of 6, `from` apart, to o, `to` apart.
inline void transform_input(const Vec* d, std::size_t from, Vec* o, std::size_t to) {
  const Vec d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
  const Vec even = d4 - 4.f * d2, odd = d3 - 4.f * d1, wide_even = d4 - d2, wide_odd = 2.f * (d3 - d1);
  o[0] = 4.f * d0 - 5.f * d2 + d4;
  o[to] = even + odd;
  o[2 * to] = even - odd;
  o[3 * to] = wide_even + wide_odd;
  o[4 * to] = wide_even - wide_odd;
  o[5 * to] = 4.f * d1 - 5.f * d3 + d5;
}

// A^T of a column m of 6, `from` apart, to 4 values, `to` apart.
inline void transform_output(const Vec* m, std::size_t from, Vec* o, std::size_t to) {
  const Vec m0 = m[0], m1 = m[from], m2 = m[2 * from], m3 = m[3 * from], m4 = m[4 * from], m5 = m[5 * from];
  const Vec sum = m1 + m2, difference = m1 - m2, wide_sum = m3 + m4, wide_difference = m3 - m4;
  o[0] = m0 + sum + wide_sum;
  o[to] = difference + 2.f * wide_difference;
  o[2 * to] = sum + 4.f * wide_sum;
  o[3 * to] = difference + 8.f * wide_difference + m5;
}

// G of 3 weights, `from` apart, of as many pairs of channels as there are lanes.
inline void transform_weights(const Vec* w, int from, Vec* u, int to) {
  const Vec w0 = w[0], w1 = w[from], w2 = w[2 * from];
  const Vec ends = (w0 + w2) * (1.f / 6), middle = w1 * (1.f / 6), far = (0.25f * w0 + w2) * (1.f / 6);
  u[0] = 0.25f * w0;
  u[to] = -(ends + middle);
  u[2 * to] = middle - ends;
  u[3 * to] = far + 0.5f * middle;
  u[4 * to] = far - 0.5f * middle;
  u[5 * to] = w2;
}

// Of `pairs` pairs of channels: weights are [pair][3][3], transformed ones [point][pair].
inline void winograd_weights(const float* weights, std::size_t pairs, float* transformed) {
  constexpr int N = kWinogradIn;
  for (std::size_t first = 0; first < pairs; first += kLanes) {
    const int some = int(std::min(pairs - first, std::size_t(kLanes)));
    Vec kernel[9] = {}, half[3 * N], points[kPoints];
    for (int pair = 0; pair < some; ++pair) load_lane(weights + (first + pair) * 9, 9, pair, kernel);
    for (int r = 0; r < 3; ++r) transform_weights(kernel + r * 3, 1, half + r * N, 1);
    for (int i = 0; i < N; ++i) transform_weights(half + i, N, points + i, N);
    for (int k = 0; k < kPoints; ++k) std::memcpy(transformed + k * pairs + first, points + k, some * sizeof(float));
  }
}

// The points of one channel's tile whose outputs start at `row` and `column`, `stride` apart.
inline void tile_to_points(const Vec* x, int size, int row, int column, Vec* points, std::size_t stride) {
  constexpr int N = kWinogradIn;
  Vec half[kPoints], padded[kPoints];
  const int top = row - 1, left = column - 1;
  if (top >= 0 && left >= 0 && top + N <= size && left + N <= size) {
    for (int i = 0; i < N; ++i) transform_input(x + top * size + left + i, size, half + i, N);
  } else {
    for (int r = 0; r < N; ++r)
      for (int i = 0; i < N; ++i) {
        const int y = top + r, z = left + i;
        padded[r * N + i] = y >= 0 && z >= 0 && y < size && z < size ? x[y * size + z] : Vec{};
      }
    for (int i = 0; i < N; ++i) transform_input(padded + i, N, half + i, N);
  }
  for (int r = 0; r < N; ++r) transform_input(half + r * N, 1, points + r * N * stride, stride);
}

// out (+)= bias + what the points, `stride` apart, say of one channel's tile.
inline void points_to_tile(const Vec* points, std::size_t stride, float bias, Vec* out, int size, bool add) {
  constexpr int N = kWinogradIn, M = kWinogradOut;
  Vec half[M * N];
  for (int i = 0; i < N; ++i) transform_output(points + i * stride, N * stride, half + i, N);
  for (int r = 0; r < M; ++r) {
    Vec row[M];
    transform_output(half + r * N, 1, row, 1);
    for (int i = 0; i < M; ++i) out[r * size + i] = (add ? out[r * size + i] + bias : all(bias)) + row[i];
  }
}

// products[out][tile] = sum over ins of weights[out][in] * points[in][tile], for `T` tiles.
template <int T>
inline void multiply_points(const Vec* points, const float* weights, Vec* products, int ins, int outs) {
  constexpr int P = std::min(T, 4);  // tiles in registers
  for (int first = 0; first < T; first += P) {
    in_groups<kSums / P>(outs, [&](auto group, int start) {
      constexpr int C = group();
      Vec sums[C][P] = {};
      for (int c = 0; c < ins; ++c)
        for (int j = 0; j < C; ++j)
          for (int p = 0; p < P; ++p) sums[j][p] += weights[(start + j) * ins + c] * points[c * T + first + p];
      for (int j = 0; j < C; ++j)
        for (int p = 0; p < P; ++p) products[(start + j) * T + first + p] = sums[j][p];
    });
  }
}

template <int T>
inline void winograd_tiles(const Vec* x, const float* weights, const float* bias, Vec* out, int ins, int outs, int size,
                           bool add, Vec* scratch, int first) {
  const int across = size / kWinogradOut;
  const std::size_t area = std::size_t(size) * size, stride = point_stride(ins, T), out_stride = point_stride(outs, T);
  Vec *points = scratch, *products = scratch + kPoints * stride;
  const auto each_tile = [&](int channels, auto f) {
    for (int c = 0; c < channels; ++c)
      for (int t = 0; t < T; ++t)
        f(c, t, (first + t) / across * kWinogradOut, (first + t) % across * kWinogradOut);
  };
  each_tile(ins, [&](int c, int t, int row, int column) {
    tile_to_points(x + c * area, size, row, column, points + c * T + t, stride);
  });
  for (int k = 0; k < kPoints; ++k)
    multiply_points<T>(points + k * stride, weights + std::size_t(k) * ins * outs, products + k * out_stride, ins, outs);
  each_tile(outs, [&](int o, int t, int row, int column) {
    points_to_tile(products + o * T + t, out_stride, bias ? bias[o] : 0.f, out + o * area + row * size + column, size,
                   add);
  });
}

// out (+)= bias + 3x3 convolution of x; weights as winograd_weights leaves them, bias may be null.
inline void winograd3x3(const Vec* x, const float* weights, const float* bias, Vec* out, int ins, int outs, int size,
                        bool add, Vec* scratch) {
  const int tiles = (size / kWinogradOut) * (size / kWinogradOut);
  int first = 0;
  for (; first + kTiles <= tiles; first += kTiles)
    winograd_tiles<kTiles>(x, weights, bias, out, ins, outs, size, add, scratch, first);
  for (; first < tiles; ++first) winograd_tiles<1>(x, weights, bias, out, ins, outs, size, add, scratch, first);
}

}  // namespace engine
