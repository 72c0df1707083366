// Long sums by lanes. The error of a running sum in fp32 grows with the number of its terms, of which a batch of large
// images has tens of thousands. So a running sum takes at most kChunk of them and is then added to a sum of such sums.
#pragma once

#include "vec.h"

namespace engine {

constexpr int kChunk = 128;

// Call f(block, begin, end) for pieces of the units 0..count - 1 of every block in turn, and carry() after every
// `per_chunk` units, and at the end.
template <class F, class G>
inline void in_chunks(int blocks, std::size_t count, std::size_t per_chunk, F f, G carry) {
  std::size_t room = per_chunk;
  for (int block = 0; block < blocks; ++block) {
    for (std::size_t begin = 0, end; begin < count; begin = end) {
      end = std::min(count, begin + room);
      f(block, begin, end);
      room -= end - begin;
      if (room > 0) continue;
      carry();
      room = per_chunk;
    }
  }
  carry();
}

// whole += part; part = 0.
inline void carry(Vec& part, Vec& whole) {
  whole += part;
  part = Vec{};
}

template <int C, int D>
inline void carry(Vec (&parts)[C][D], Vec (&wholes)[C][D]) {
  for (int j = 0; j < C; ++j)
    for (int i = 0; i < D; ++i) carry(parts[j][i], wholes[j][i]);
}

}  // namespace engine
