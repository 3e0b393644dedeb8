// The interfaces' destructors live in one object, so that each class has one vtable and one typeinfo in the library.
#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

MemoryProvider::~MemoryProvider() = default;
Session::~Session() = default;

}  // namespace pageserver
