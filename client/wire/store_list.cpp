#include "client/wire/store_list.hpp"

#include "proto/library_values.hpp"

namespace pageserver::client {

std::vector<ListedStore> list_stores(Connection& connection) {
  std::vector<ListedStore> stores;
  bool more = true;
  while (more) {
    const std::string after = stores.empty() ? "" : stores.back().name;
    bool rises = true;
    const auto before = stores.size();
    connection.call(proto::ListRequest{after}, [&](const proto::ListAnswer& answer) {
      more = answer.more;
      for (const auto& entry : answer.entries) {
        rises = rises && (stores.empty() || stores.back().name < entry.store);
        ListedStore& store = stores.emplace_back();
        store = {std::string{entry.store}, entry.pages, entry.read_only, entry.open, {}, entry.recovery_warned};
        if (entry.recovery) store.recovery = proto::from_wire(*entry.recovery);
      }
    });
    if (!rises || (more && stores.size() == before))
      throw MemoryError{Errc::protocol_error,
                        connection.context() + ": list after=" + after + " was answered with names that do not rise"};
  }
  return stores;
}

}  // namespace pageserver::client
