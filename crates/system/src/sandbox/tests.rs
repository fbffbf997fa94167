//! What `sandbox-exec` is told. How Linux holds programs is tried in `tests/system/sandbox.rs`.

use super::{Network, Profile, seatbelt};

#[test]
fn a_profile_for_macos_has_its_places_from_the_root_down() {
    let told = seatbelt::profile(&Profile {
        writable: vec!["/srv/me/\"our\" code".into(), "/tmp/ours".into()],
        protected: vec!["/srv/me/\"our\" code/.git/hooks".into()],
        hidden: vec!["/srv/me".into(), "/srv/me/tool/key".into()],
        readable: vec!["/srv/me/tool".into()],
        links: Vec::new(),
        scratch: vec!["/tmp".into()],
        network: Network::None,
    });
    let places = told.split_once("/dev/tty\"))\n").expect("its base").1;
    assert_eq!(
        places,
        "(deny file-read* file-write* (subpath \"/tmp\"))\n\
         (deny file-read* file-write* (subpath \"/srv/me\"))\n\
         (allow file-read* file-write* (subpath \"/tmp/ours\"))\n\
         (allow file-read* (subpath \"/srv/me/tool\"))\n\
         (allow file-read* file-write* (subpath \"/srv/me/\\\"our\\\" code\"))\n\
         (deny file-read* file-write* (subpath \"/srv/me/tool/key\"))\n\
         (deny file-write* (subpath \"/srv/me/\\\"our\\\" code/.git/hooks\"))\n"
    );
    assert!(told.starts_with("(version 1)\n(deny default)\n"), "{told}");
}

#[test]
fn on_macos_no_socket_with_a_path_is_reached_even_with_the_network() {
    let told = seatbelt::profile(&Profile {
        writable: Vec::new(),
        protected: Vec::new(),
        hidden: Vec::new(),
        readable: Vec::new(),
        links: Vec::new(),
        scratch: Vec::new(),
        network: Network::Host,
    });
    let allowed = told.find("(allow network*)").expect("the network");
    let denied = told
        .find("(deny network* (remote unix-socket))")
        .expect("sockets");
    assert!(allowed < denied, "the later rule holds: {told}");
}
