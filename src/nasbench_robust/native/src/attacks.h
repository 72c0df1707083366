// Attacks on the folded network, L-infinity; what they do is said in src/nasbench_robust/attacks, which they follow.
#pragma once

#include "network.h"

namespace engine {

// Images in memory, [n][channel][row][column], with pixels in [0, 1].
struct Images {
  const float* pixels;
  const std::int32_t* labels;
  int count;
  std::size_t length;  // floats of an image
};

// PGD on the cross entropy from images + noise (no noise: null), the last iterate; FGSM is one step of length eps.
void pgd(Network& network, Team& team, const Images& images, const float* noise, float eps, float step_size, int steps,
         float* adversarial);

struct Budget {
  float eps;
  int steps, queries, restarts;
  std::uint64_t seed;
  int first;  // number of the first image: an image's draws depend on its number, not on those beside it
};

// The four parts of AutoAttack on the images that `left` names. A part sets survives[image] to 0 and writes a
// misclassified point within eps over the image in `adversarial` where it finds one.
struct Target {
  Network& network;
  Team& team;
  const Images& images;
  const std::vector<int>& ranked;  // [n][classes - 1]: wrong classes of every image, most likely first
  std::uint8_t* survives;
  float* adversarial;
};

void apgd_ce(const Target& target, const Budget& budget, std::vector<int> left);
void apgd_t(const Target& target, const Budget& budget, std::vector<int> left);
void fab_t(const Target& target, const Budget& budget, std::vector<int> left);
void square(const Target& target, const Budget& budget, std::vector<int> left);

// All four in turn. survivors: [5][n], after the clean images and after each part.
void autoattack(Network& network, Team& team, const Images& images, const Budget& budget, std::uint8_t* survivors,
                float* adversarial);

// Bits that are a function of a key and a counter (SplitMix64): draws that do not depend on what was drawn before.
inline std::uint64_t draw(std::uint64_t key, std::uint64_t counter) {
  std::uint64_t z = key + (counter + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
inline float unit(std::uint64_t bits) { return float(bits >> 40) * 0x1p-24f; }
inline std::uint64_t key_of(std::uint64_t seed, int part, int attempt, int image) {
  return draw(draw(draw(seed, part), attempt), image);
}

}  // namespace engine
