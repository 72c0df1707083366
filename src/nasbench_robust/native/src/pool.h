// Mean pooling of one block of images, forwards and backwards.
#pragma once

#include "vec.h"

namespace engine {

// 1 / (pixels of a window of 3 that lie inside), along one direction: padding is not counted.
inline float share(int position, int size) {
  constexpr float kShares[] = {1.f, 1.f / 2, 1.f / 3};
  return kShares[(position > 0) + (position + 1 < size)];
}

// Sums of windows of 3 along `count` elements, each element weighed by f first; g(i, sum) takes the sums in order.
template <class F, class G>
inline void slide(int count, F f, G g) {
  Vec before = {}, here = f(0);
  for (int p = 0; p < count; ++p) {
    const Vec after = p + 1 < count ? f(p + 1) : Vec{};
    g(p, before + here + after);
    before = here;
    here = after;
  }
}

// The same along the columns of a plane, row by row: g(i, row, sum).
template <class G>
inline void slide_down(const Vec* plane, int size, G g) {
  for (int row = 0; row < size; ++row) {
    for (int i = row * size; i < (row + 1) * size; ++i) {
      const Vec before = row > 0 ? plane[i - size] : Vec{}, after = row + 1 < size ? plane[i + size] : Vec{};
      g(i, row, before + plane[i] + after);
    }
  }
}

// out (+)= 3x3 mean of x, stride 1: along rows, then along columns.
inline void pool3x3(const Vec* x, Vec* out, int channels, int size, bool add, Vec* scratch) {
  for (int c = 0; c < channels; ++c, x += size * size, out += size * size) {
    for (int row = 0; row < size; ++row) {
      const int start = row * size;
      slide(size, [&](int i) { return x[start + i]; },
            [&](int i, Vec sum) { scratch[start + i] = sum * share(i, size); });
    }
    slide_down(scratch, size, [&](int i, int row, Vec sum) {
      sum *= share(row, size);
      out[i] = add ? out[i] + sum : sum;
    });
  }
}

// gradient (+)= that of pool3x3 with respect to its input: the transpose, shares first and sums afterwards.
inline void pool3x3_back(const Vec* output, Vec* gradient, int channels, int size, bool add, Vec* scratch) {
  for (int c = 0; c < channels; ++c, output += size * size, gradient += size * size) {
    for (int row = 0; row < size; ++row) {
      const int start = row * size;
      slide(size, [&](int i) { return output[start + i] * share(i, size); },
            [&](int i, Vec sum) { scratch[start + i] = sum * share(row, size); });
    }
    slide_down(scratch, size, [&](int i, int, Vec sum) { gradient[i] = add ? gradient[i] + sum : sum; });
  }
}

// out = 2x2 mean of x, stride 2; `size` is x's.
inline void pool2x2(const Vec* x, Vec* out, int channels, int size) {
  for (int row = 0; row < channels * size; row += 2, x += 2 * size)
    for (int p = 0; p < size; p += 2) *out++ = 0.25f * (x[p] + x[p + 1] + x[p + size] + x[p + size + 1]);
}

// gradient (+)= that of pool2x2 with respect to its input, of side `size`.
inline void pool2x2_back(const Vec* output, Vec* gradient, int channels, int size, bool add) {
  const int half = size / 2;
  for (int row = 0; row < channels * size; ++row, gradient += size)
    for (int p = 0; p < size; ++p) {
      const Vec slope = 0.25f * output[row / 2 * half + p / 2];
      gradient[p] = add ? gradient[p] + slope : slope;
    }
}

}  // namespace engine
