#include "client/wire/error_mapping.hpp"

#include <system_error>

namespace pageserver::client {

Errc errc_of(proto::Status status) {
  switch (status) {
    case proto::Status::ok: return Errc::provider_error;
    case proto::Status::out_of_bounds: return Errc::out_of_bounds;
    case proto::Status::provider_error: return Errc::provider_error;
    case proto::Status::busy: return Errc::busy;
    case proto::Status::lease_lost: return Errc::lease_lost;
    case proto::Status::read_only: return Errc::read_only;
    case proto::Status::snapshot_too_old: return Errc::snapshot_too_old;
    case proto::Status::no_space: return Errc::no_space;
    case proto::Status::limit_exceeded: return Errc::limit_exceeded;
    case proto::Status::not_found: return Errc::not_found;
    case proto::Status::already_exists: return Errc::already_exists;
    case proto::Status::protocol_error: return Errc::protocol_error;
    case proto::Status::stopping: return Errc::connection_lost;
    case proto::Status::timed_out: return Errc::timed_out;
    case proto::Status::unsupported: return Errc::unsupported;
    case proto::Status::invalid_argument: return Errc::invalid_argument;
    case proto::Status::permission_denied: return Errc::permission_denied;
    case proto::Status::damaged: return Errc::damaged;
  }
  return Errc::provider_error;
}

std::string error_text(std::string_view context, std::string_view operation, std::string_view message) {
  std::string text{context};
  text += ": ";
  const bool named =
      message.starts_with(operation) &&
      (message.size() == operation.size() || message[operation.size()] == ' ' || message[operation.size()] == ':');
  if (!named) {
    text += operation;
    text += ": ";
  }
  text += message;
  return text;
}

std::string system_text(int error) { return std::generic_category().message(error); }

}  // namespace pageserver::client
