//! What docs/clients.md shows does what it says. `cargo test` has compiled it beside this program.

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

fn hello(uri: &str) -> Output {
    let here = std::env::current_exe().unwrap();
    let mut program: PathBuf = here.parent().unwrap().with_file_name("examples");
    program.push("hello");
    Command::new(program).arg(uri).output().unwrap()
}

#[test]
fn hello_says_hello_in_a_daemon_s_store_and_in_memory() {
    let said = |uri: &str| String::from_utf8(hello(uri).stdout).unwrap();
    assert_eq!(said("heap:"), "hello from 16 pages\n");
    let server = support::server();
    server.create("hello", 4).unwrap();
    let uri = format!("pageserver+unix:///hello?socket={}", server.socket().display());
    assert_eq!(said(&uri), "hello from 4 pages\n");
    assert!(!hello("nothing:").status.success());
}
