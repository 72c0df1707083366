// A few images side by side: the one vector type of the engine.
//
// A Vec holds the same pixel of as many images as a register has lanes, 16 with AVX-512, so every operation of a
// network is plain element-wise arithmetic and no lane ever looks at another one. The compiler's vector extension makes
// registers of it on every processor; the source is the same for all. A "block" is as many images as there are lanes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace engine {

#if defined(__AVX512F__)
#define ENGINE_BYTES 64
#elif defined(__AVX__)
#define ENGINE_BYTES 32
#else
#define ENGINE_BYTES 16  // SSE2, NEON
#endif

constexpr int kLanes = ENGINE_BYTES / 4;
typedef float Vec __attribute__((vector_size(ENGINE_BYTES)));
typedef std::int32_t Mask __attribute__((vector_size(ENGINE_BYTES)));  // -1 where true, 0 where not

// Register blocking of the convolutions: how many sums are kept in registers, and how many of them along a row.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kSums = 16, kTile = 8;  // of 32 registers
#else
constexpr int kSums = 8, kTile = 4;  // of images
#endif

inline Vec all(float value) { return value - Vec{}; }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
inline Vec absolute(Vec a) { return larger(a, -a); }
inline Vec clamp(Vec a, Vec low, Vec high) { return smaller(larger(a, low), high); }
inline Vec relu(Vec a) { return larger(a, Vec{}); }
inline Vec sign(Vec a) { return (a > Vec{} ? all(1.f) : Vec{}) - (a < Vec{} ? all(1.f) : Vec{}); }
inline Vec where(Mask condition, Vec yes, Vec no) { return condition ? yes : no; }

// The first half of the values plus the second one, and so on: vectors all the way, whose order the compiler sees.
template <int N>
inline float sum_of(const float* values) {
  if constexpr (N == 2) {
    return values[0] + values[1];
  } else {
    typedef float Half __attribute__((vector_size(2 * N)));
    Half low, high;
    std::memcpy(&low, values, sizeof low);
    std::memcpy(&high, values + N / 2, sizeof high);
    low += high;
    float halves[N / 2];
    std::memcpy(halves, &low, sizeof low);
    return sum_of<N / 2>(halves);
  }
}

inline float sum(Vec a) {
  float values[kLanes];
  std::memcpy(values, &a, sizeof a);
  return sum_of<kLanes>(values);
}

inline bool any(Mask a) {
  std::int64_t words[kLanes / 2], found = 0;
  std::memcpy(words, &a, sizeof a);
  for (std::int64_t word : words) found |= word;
  return found != 0;
}

// exp(a) for a <= 0 to about 2e-7, relatively: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]. Not libm's, whose last
// digits differ between systems.
inline Vec exponential(Vec a) {
  a = larger(a, all(-87.f));
  Mask whole = __builtin_convertvector(a * 1.44269504f - 0.5f, Mask);  // rounds, since a <= 0 is truncated towards 0
  Vec n = __builtin_convertvector(whole, Vec);
  Vec r = a - n * 0.693359375f + n * 2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  Mask bits = (whole + 127) << 23;
  Vec power;
  std::memcpy(&power, &bits, sizeof bits);
  return p * power;
}

// log(a) for a >= 1 to about 1e-7: the exponent's part plus a polynomial around 1, for the same reason.
inline Vec logarithm(Vec a) {
  Mask bits;
  std::memcpy(&bits, &a, sizeof a);
  Mask exponent = (bits >> 23) - 126;
  bits = (bits & 0x007fffff) | 0x3f000000;
  Vec m;  // in [0.5, 1)
  std::memcpy(&m, &bits, sizeof bits);
  const Mask low = m < all(0.707106781f);
  m = where(low, m + m, m) - 1.f;
  exponent = low ? exponent - 1 : exponent;
  const Vec e = __builtin_convertvector(exponent, Vec), square = m * m;
  Vec p = all(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  return m + (p * m * square - e * 2.12194440e-4f - 0.5f * square) + e * 0.693359375f;
}

inline void load_lane(const float* image, std::size_t length, int lane, Vec* block) {
  for (std::size_t i = 0; i < length; ++i) block[i][lane] = image[i];
}

inline void store_lane(const Vec* block, std::size_t length, int lane, float* image) {
  for (std::size_t i = 0; i < length; ++i) image[i] = block[i][lane];
}

// An array of Vec on cache lines, zero at first.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) { resize(size); }
  void resize(std::size_t size) {
    data_.reset();  // first, so that both never exist at once
    if (size == 0) return;
    data_.reset(static_cast<Vec*>(::operator new[](size * sizeof(Vec), kAlignment)));
    std::fill_n(data_.get(), size, Vec{});
  }
  Vec* get() const { return data_.get(); }
  Vec& operator[](std::size_t i) const { return data_[i]; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(Vec* data) const { ::operator delete[](data, kAlignment); }
  };
  std::unique_ptr<Vec[], Free> data_;
};

}  // namespace engine
