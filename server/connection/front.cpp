// Requests of a connection that has no session: hello, and what is about the server and its stores.
#include <string.h>

#include "base/clock.hpp"
#include "base/ring/layout.hpp"
#include "base/ring/memory.hpp"
#include "base/secrets.hpp"
#include "proto/library_values.hpp"
#include "server/connection/connection.hpp"
#include "server/runtime/version.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using proto::Status;
using Payload = std::span<const std::byte>;

template <class Request>
proto::Decoded fault_in(Payload payload) {
  Request request;
  return proto::decode(payload, request);
}

/// Of the stores behind `after` those that the client has some right on, up to `count`.
std::vector<ListedStore> visible_stores(Catalog& catalog, const Gate& gate, std::string after, std::size_t count) {
  if (gate.everywhere() != 0) return catalog.list(after, count);
  // Few of many may be visible.
  constexpr std::size_t looks = 1024;
  std::vector<ListedStore> visible;
  for (;;) {
    std::vector<ListedStore> some = catalog.list(after, looks);
    for (const ListedStore& store : some)
      if (visible.size() < count && gate.on(store.name) != 0) visible.push_back(store);
    if (visible.size() == count || some.size() < looks) return visible;
    after = some.back().name;
  }
}

// What is malformed is said before that there is no session.
proto::Decoded fault_in_session_request(Operation operation, Payload payload) {
  switch (operation) {
    case Operation::size: return fault_in<proto::SizeRequest>(payload);
    case Operation::grow: return fault_in<proto::GrowRequest>(payload);
    case Operation::read: return fault_in<proto::ReadRequest>(payload);
    case Operation::write: return fault_in<proto::WriteRequest>(payload);
    case Operation::zero: return fault_in<proto::ZeroRequest>(payload);
    case Operation::data_ranges: return fault_in<proto::DataRangesRequest>(payload);
    case Operation::flush: return fault_in<proto::FlushRequest>(payload);
    case Operation::commit: return fault_in<proto::CommitRequest>(payload);
    case Operation::discard: return fault_in<proto::DiscardRequest>(payload);
    case Operation::refresh: return fault_in<proto::RefreshRequest>(payload);
    case Operation::stat: return fault_in<proto::StatRequest>(payload);
    case Operation::break_lease: return fault_in<proto::BreakLeaseRequest>(payload);
    case Operation::faults: return fault_in<proto::FaultsRequest>(payload);
    default: return {};
  }
}

/// Input that may have a token in it. Nobody finds that in a core dump once it was looked at.
class WipedInput {
public:
  explicit WipedInput(Payload bytes) noexcept : bytes_{bytes} {}
  WipedInput(const WipedInput&) = delete;
  WipedInput& operator=(const WipedInput&) = delete;
  // It lies in a buffer of this thread or of the connection, to be written over by what comes next.
  ~WipedInput() { ::explicit_bzero(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

private:
  const Payload bytes_;
};

}  // namespace

Connection::Step Connection::take_hello(const FrameHeader& header, Payload payload) {
  if (header.operation != Operation::hello) {
    say_goodbye(Status::protocol_error,
                "the first frame must be a hello request, got " + proto::to_string(header.operation));
    return Step::taken;
  }
  if (const auto fault = proto::check_request_header(header)) {
    say_goodbye(Status::protocol_error, fault->message);
    return Step::taken;
  }
  const WipedInput wiped{payload};
  proto::HelloRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) {
    say_goodbye(fault->status, fault->message);
    return Step::taken;
  }
  if (request.version_min > proto::protocol_version || request.version_max < proto::protocol_version) {
    say_goodbye(Status::unsupported, "hello offers versions " + std::to_string(request.version_min) + " to " +
                                         std::to_string(request.version_max) + ", this server has version " +
                                         std::to_string(proto::protocol_version));
    return Step::taken;
  }
  const Limits& limits = server_.config.limits;
  greeting_.features =
      request.features & (proto::features_all | proto::feature_resume | proto::feature_ring | proto::feature_restart);
  if (server_.config.resume_linger.count() == 0) greeting_.features &= ~proto::feature_resume;
  if ((greeting_.features & proto::feature_resume) == 0) greeting_.features &= ~proto::feature_restart;
  if (server_.faults == nullptr) greeting_.features &= ~proto::feature_faults;
  // Who does not poll has to be woken by the socket for each message, which a ring would only add to.
  if (is_tcp_ || !poll_budget_.is_on()) greeting_.features &= ~proto::feature_ring;
  if (!admit(request)) return Step::taken;
  if (stream_.tls() != nullptr) {
    tls_memory_ = server_.tls_memory->take(peer_);
    if (!tls_memory_) {
      say_goodbye(Status::limit_exceeded, "hello: " + server_.tls_memory->refusal(*peer_, limits.peer_percent));
      return Step::taken;
    }
  }
  greeting_.done = true;
  if (stream_.tls() != nullptr) stream_.tls()->read_no_secrets();
  if ((greeting_.features & proto::feature_ring) != 0) stream_.keep_descriptors(true);
  server_.strangers->remove(id_);
  greeting_.request_bytes_max = std::min(limits.request_bytes, request.payload_bytes_max);
  greeting_.client_name = base::without_secrets(request.client_name);  // others see it
  record_->greeted(greeting_.client_name);
  proto::HelloAnswer answer;
  answer.features = greeting_.features;
  answer.payload_bytes_max = limits.request_bytes + proto::payload_overhead_bytes;
  answer.request_bytes_max = greeting_.request_bytes_max;
  answer.requests_in_flight_max = limits.requests_in_flight;
  answer.buffered_bytes_max = buffered_bytes_max(limits);
  answer.connection_id = id_;
  answer.server_name = server_name;
  answers().add(header.request_id, answer);
  server_.log.debug(
      "hello",
      {{"connection", id_}, {"address", address_}, {"client", greeting_.client_name}, {"who", gate_.who().text()}});
  return Step::taken;
}

Connection::Step Connection::take_front(const FrameHeader& header, Payload payload) {
  if (header.operation != Operation::ring) stream_.drop_descriptor();
  switch (header.operation) {
    case Operation::ping: answer_ping(header, payload, answers()); break;
    case Operation::list: take_list(header, payload); break;
    case Operation::create: take_create(header, payload); break;
    case Operation::remove: take_remove(header, payload); break;
    case Operation::open: take_open(header, payload); break;
    case Operation::sessions: take_sessions(header, payload); break;
    case Operation::kick: take_kick(header, payload); break;
    case Operation::whoami: take_whoami(header, payload); break;
    case Operation::takeover: take_takeover(header, payload); break;
    case Operation::close: take_close(header, payload); break;
    case Operation::ring: take_ring(header, payload); break;
    case Operation::hello:
      answers().error(header.request_id, header.operation, Status::invalid_argument,
                      "hello: this connection has said hello already");
      break;
    default:
      if (const auto fault = fault_in_session_request(header.operation, payload)) {
        answers().error(header, *fault);
        break;
      }
      answers().error(header.request_id, header.operation, Status::invalid_argument,
                      proto::to_string(header.operation) + ": this connection has no session; open one first");
  }
  return Step::taken;
}

void Connection::take_list(const FrameHeader& header, Payload payload) {
  proto::ListRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!allows(header, {})) return;
  on_admin(server_.catalog.lists(), header,
           [header, after = std::string(request.after), gate = gate_](const std::shared_ptr<Connection>& self,
                                                                      std::uint64_t number) {
             std::vector<ListedStore> stores;
             std::exception_ptr error;
             try {
               // One more than fits, to know whether there are more.
               stores = visible_stores(self->server_.catalog, gate, after, proto::list_entries_max + 1);
             } catch (...) {
               error = std::current_exception();
             }
             self->complete(number,
                            [connection = self.get(), header, stores = std::move(stores), error = std::move(error)] {
                              if (error) return connection->answers().error(header, error);
                              proto::ListAnswer answer;
                              answer.more = stores.size() > proto::list_entries_max;
                              for (const ListedStore& store : stores) {
                                if (answer.entries.size() == proto::list_entries_max) break;
                                proto::ListEntry entry{store.name, store.pages, store.read_only, store.open, {}, false};
                                if (store.recovery && (connection->greeting_.features & proto::feature_recovery) != 0) {
                                  entry.recovery_warned = !store.recovery->warning.empty();
                                  entry.recovery = proto::to_wire(*store.recovery);
                                }
                                answer.entries.push_back(std::move(entry));
                              }
                              connection->answers().add(header.request_id, answer);
                            });
           });
}

void Connection::take_create(const FrameHeader& header, Payload payload) {
  proto::CreateRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!allows(header, request.store)) return;
  on_admin(server_.catalog.changes(), header,
           [header, name = std::string(request.store), pages = request.pages](const std::shared_ptr<Connection>& self,
                                                                              std::uint64_t number) {
             std::exception_ptr error;
             try {
               self->server_.catalog.create(name, pages);
             } catch (...) {
               error = std::current_exception();
             }
             self->complete(number, [connection = self.get(), header, name, pages, error = std::move(error)] {
               if (error) return connection->refused("create", name, header, error);
               connection->server_.lines.info(connection->peer_, "store created",
                                              {{"store", name}, {"pages", pages}, {"address", connection->address_}});
               connection->answers().add(header.request_id, proto::CreateAnswer{});
             });
           });
}

void Connection::take_remove(const FrameHeader& header, Payload payload) {
  proto::RemoveRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!allows(header, request.store)) return;
  on_admin(server_.catalog.changes(), header,
           [header, name = std::string(request.store)](const std::shared_ptr<Connection>& self, std::uint64_t number) {
             self->server_.catalog.remove(name, [self, number, header, name](std::exception_ptr error) {
               self->complete(number, [connection = self.get(), header, name, error = std::move(error)] {
                 if (error) return connection->refused("remove", name, header, error);
                 connection->server_.lines.info(connection->peer_, "store removed",
                                                {{"store", name}, {"address", connection->address_}});
                 connection->answers().add(header.request_id, proto::RemoveAnswer{});
               });
             });
           });
}

void Connection::take_open(const FrameHeader& header, Payload payload) {
  proto::OpenRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  const bool resumes = request.resume_token != proto::ResumeToken{};
  if (resumes && (greeting_.features & proto::feature_resume) == 0)
    return answers().error(header.request_id, header.operation, Status::protocol_error,
                           "open request has a resume_token, and the feature resume was not agreed on");
  if (!allows(header, request.store, request.access)) return;
  if (resumes) return take_resume(header, request);
  go_to_open(header, request);
}

void Connection::go_to_open(const FrameHeader& header, const proto::OpenRequest& request) {
  if (!finds_room_beside_detached(header)) return;
  stream_.keep_descriptors(false);
  gate_.enter(request.store, request.access);
  pending_open_ = std::make_unique<PendingOpen>();
  PendingOpen& open = *pending_open_;
  open.header = header;
  open.store = request.store;
  open.wait_ms = request.wait_ms;
  open.request.access = request.access;
  open.request.view = request.view;
  open.request.publish = request.publish;
  open.request.name =
      request.session_name.empty() ? greeting_.client_name : base::without_secrets(request.session_name);
  open.request.address = address_;
  open.request.opened_unix_ms = base::unix_ms();
  open.request.opened_ms = base::monotonic_ms();
  open.request.wait_in_line = request.access == proto::Access::write && request.wait_ms > 0;
  if (request.resume_token != proto::ResumeToken{}) {
    open.rebuilt = {request.resume_token, request.last_request_id};
    open.request.wait_in_line = false;
  }
  hold_.id = server_.next_session_id++;
  record_->opening(hold_.id, open.store, open.request.name, request.access, request.view, request.publish,
                   open.request.opened_ms);
  // A store that is open already needs no disk to be found.
  if (auto use = server_.catalog.find(open.store, peer_)) return go_to_store(std::move(use));
  on_admin(server_.catalog.changes(), header,
           [name = open.store](const std::shared_ptr<Connection>& self, std::uint64_t number) {
             std::shared_ptr<HostUse> use;
             std::exception_ptr error;
             try {
               use = self->server_.catalog.resolve(name, self->peer_);
             } catch (...) {
               error = std::current_exception();
             }
             self->complete(number, [connection = self.get(), use = std::move(use), error = std::move(error)] {
               if (error) return connection->open_failed(error);
               connection->go_to_store(use);
             });
           });
}

// What is passed is looked at before it is mapped, and belongs to this process for no longer than this call takes.
void Connection::take_ring(const FrameHeader& header, Payload payload) {
  int count = 0;
  const UniqueFd descriptor = stream_.take_descriptor(count);
  proto::RingRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_ring) || !allows(header, {})) return;
  const auto refuse = [&](Status status, const std::string& why) {
    answers().error(header.request_id, header.operation, status, "ring: " + why);
  };
  if (stream_.has_ring()) return refuse(Status::invalid_argument, "this connection has one already");
  if (!ring::is_direction_bytes(request.direction_bytes))
    return refuse(Status::invalid_argument,
                  "direction_bytes=" + std::to_string(request.direction_bytes) + " is no power of two from " +
                      std::to_string(ring::direction_bytes_min) + " to " + std::to_string(ring::direction_bytes_max));
  if (count != 1)
    return refuse(Status::invalid_argument, "the request came with " +
                                                std::string(count == 0 ? "no descriptor" : "several descriptors") +
                                                ", wanted is one");
  const auto direction_bytes = static_cast<std::uint32_t>(request.direction_bytes);
  BufferRoom::Ring room = server_.buffers.take_ring(peer_, ring::memory_bytes(direction_bytes));
  if (!room)
    return refuse(Status::limit_exceeded, "the rings of this peer or of all have what they may: a quarter of " +
                                              std::to_string(server_.buffers.share().bytes_max()) + " bytes that " +
                                              server_.buffers.share().name() + " leaves buffers");
  std::string fault;
  ring::Memory memory = ring::map_memory(descriptor.get(), direction_bytes, fault);
  if (!memory) return refuse(Status::invalid_argument, fault);
  stream_.begin_ring(std::make_unique<ring::End>(std::move(memory), ring::Side::server, socket()), std::move(room));
  record_->ring = true;
  answers().add(header.request_id, proto::RingAnswer{});
}

void Connection::refuse_admin(const FrameHeader& header) {
  if (header.operation == Operation::open) record_->left(proto::SessionState::front);
  answers().error(header.request_id, header.operation, Status::limit_exceeded,
                  proto::to_string(header.operation) +
                      ": too many requests about the directory's stores wait already; try again later");
}

void Connection::bound_by_home(const FrameHeader& header, std::chrono::milliseconds time, std::string store) {
  home_wait_ =
      std::make_unique<HomeWait>(HomeWait{header, time, std::chrono::steady_clock::now() + time, std::move(store)});
}

std::chrono::milliseconds Connection::opening_time() const {
  constexpr std::chrono::milliseconds lease_patience{4000};
  return std::max(server_.config.home_timeout, lease_patience);
}

bool Connection::is_home_late() {
  if (home_wait_ == nullptr) return false;
  const auto left = [&] { return home_wait_->until - std::chrono::steady_clock::now(); };
  if (left().count() <= 0) {
    const auto use = pending_open_ != nullptr    ? hold_.use
                     : home_wait_->store.empty() ? nullptr
                                                 : server_.catalog.look(home_wait_->store);
    if (use != nullptr)
      home_wait_->until = std::max(home_wait_->until, use->host().recovery_went_on() + home_wait_->time);
  }
  if (left().count() <= 0) return true;
  if (deadline_.kind() == Deadline::Kind::none)
    set_deadline(Deadline::Kind::home, std::chrono::ceil<std::chrono::milliseconds>(left()));
  return false;
}

void Connection::answer_home_late() {
  const std::unique_ptr<HomeWait> wait = std::move(home_wait_);
  pending_.clear();
  clear_deadline();
  const auto error = std::make_exception_ptr(MemoryError{
      Errc::timed_out, proto::to_string(wait->header.operation) + ": the cluster has not answered within " +
                           std::to_string(wait->time.count()) +
                           " ms (see home_timeout); what was asked for may still be done, once it does: see to "
                           "its OSDs, and ask again"});
  if (pending_open_ != nullptr) {
    open_failed(error);
  } else {
    answers().error(wait->header, error);
    waited();
  }
  recheck_input_ = true;
}

void Connection::refuse_stopping() { say_goodbye(Status::stopping, "the server is stopping"); }

void Connection::go_to_store(std::shared_ptr<HostUse> use) {
  move_to_ = use->host().worker_for(pending_open_->request.access);
  hold_.use = std::move(use);
}

// With a session it is released first, and its hold on the store too, so that once close is answered both are free.
void Connection::take_close(const FrameHeader& header, Payload payload) {
  proto::CloseRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  reason_ = "closed by the client";
  record_->state.set(proto::SessionState::leaving);
  close_request_id_ = header.request_id;
  if (on_front()) return back_on_front();
  end_session();
  move_to_ = server_.front;
}

void Connection::back_on_front() {
  hold_.use.reset();
  if (!close_request_id_) return;
  answers().add(*close_request_id_, proto::CloseAnswer{});
  waited();
  close_request_id_.reset();
  leaving_ = true;
}

void Connection::refused(std::string_view action, const std::string& store, const FrameHeader& header,
                         const std::exception_ptr& error) {
  answers().error(header, error);
  std::string reason;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& problem) {
    reason = problem.what();
  }
  server_.lines.info(
      peer_, "request refused",
      {{"action", action}, {"store", store}, {"connection", id_}, {"address", address_}, {"reason", reason}});
}

}  // namespace pageserver::server
