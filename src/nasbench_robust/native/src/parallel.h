// Work shared out among threads. A unit of work is done by one thread from beginning to end, so that the numbers are the
// same, to the last bit, for any number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace engine {

// The threads of one call of the engine. They end with it: where a process forks between two calls, a thread that waited
// for work would be missing in the child.
class Team {
 public:
  using Work = std::function<void(int unit, int thread)>;

  explicit Team(int threads);  // the caller is one of them
  ~Team();
  Team(const Team&) = delete;
  int size() const { return int(helpers_.size()) + 1; }
  // Call work(unit, thread) for the units 0..count - 1, whichever thread is free; return when all are done.
  void each(int count, const Work& work);

 private:
  void help(int thread);
  void take_units(int thread);

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable called_, done_;
  const Work* work_ = nullptr;
  int count_ = 0, round_ = 0, busy_ = 0;  // round_: how often `each` was called; -1 at the end
  std::atomic<int> next_{0};
};

}  // namespace engine
