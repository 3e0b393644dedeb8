//! Against a real daemon: faults on order, in a URI and by a call.

#![cfg(unix)]

use pageserver::testing::Server;
use pageserver::{Daemon, ErrorKind, Session};

fn uri(server: &Server, query: &str) -> String {
    let mut daemon = Daemon::connect(&format!("pageserver://{}", server.address())).unwrap();
    let store = format!("s{}", daemon.list().unwrap().len());
    daemon.create(&store, 1).unwrap();
    format!("pageserver://{}/{}?{}", server.address(), store, query)
}

#[test]
fn a_session_is_struck_by_what_it_orders_and_hears_how_often() {
    let server = Server::builder().argument("--allow-faults").start().unwrap();
    for cache in ["", "&cache_bytes=1MiB"] {
        let mut session =
            Session::open(&uri(&server, &format!("faults=write:2:no_space,flush:cut=before{}", cache))).unwrap();
        session.write(0, b"one").unwrap();
        let error = session.write(0, b"two").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().contains("a fault on order (write:2:no_space)"), "{}", error);
        let found = session.faults().unwrap();
        assert_eq!((found[0].order.as_str(), found[0].seen, found[0].struck), ("write:2:no_space", 2, 1));
        assert_eq!(found[1].struck, 0);
        assert_eq!(session.clear_faults().unwrap().len(), 2);
        session.flush().unwrap();
        let error = session.order_faults("read:boom").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("at byte 5: \"boom\""), "{}", error);
        assert_eq!(session.order_faults("write:cut=after").unwrap().len(), 1);
        assert_eq!(session.write(0, b"xyz").unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
}

#[test]
fn a_daemon_that_was_not_started_for_it_takes_no_orders() {
    let server = Server::builder().start().unwrap();
    let error = Session::open(&uri(&server, "faults=read:hang")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("--allow-faults"), "{}", error);
}
