// Compiled by clang alone, as it is and with each BREACH: the first has no warning, and each of the others has one.
#include "base/mutex.hpp"
#include "storage/engine/read_gate.hpp"

namespace pageserver::storage {

class Store {
public:
  int look() {
    const ReadGate::Look look{gate_};
#if BREACH == 1
    ++version_;  // which others look at
#endif
    return version_;
  }
  void change() PAGESERVER_EXCLUDES(mutex_) {
    const Lock lock{mutex_};
    {
      const ReadGate::Change change{gate_};
      move_on();
    }
#if BREACH == 2
    ++version_;  // with the gate open again
#elif BREACH == 3
    move_on();
#endif
  }

private:
  void move_on() PAGESERVER_REQUIRES(mutex_, gate_) { ++version_; }
  int breach() {
#if BREACH == 4
    return version_;  // without looking
#elif BREACH == 5
    const ReadGate::Change change{gate_};
    move_on();  // without the mutex
#endif
    return 0;
  }

  Mutex mutex_;
  ReadGate gate_{1};
  int version_ PAGESERVER_GUARDED_BY(gate_) = 1;
};

}  // namespace pageserver::storage
