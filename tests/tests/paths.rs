//! What can exist at the path of a channel, and on the way to it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode};
use xmem_core::{Canceller, Channel, Error, Publisher, Subscriber};
use xmem_tests::order::Order;
use xmem_tests::{Client, ClientOrder, Line, PATIENCE, Peer, Place, Producer, pattern, process};

/// Creates a file at a path.
type Put = fn(&Place, &Path);

/// Files of each kind, and their names in errors.
const KINDS: [(&str, Put); 6] = [
    ("a symbolic link", |_, path| {
        symlink("nothing", path).unwrap()
    }),
    ("a symbolic link", |_, path| symlink(path, path).unwrap()),
    // A link to the socket of a running producer.
    ("a symbolic link", |place, path| {
        symlink(place.socket("live"), path).unwrap()
    }),
    ("a directory", |_, path| std::fs::create_dir(path).unwrap()),
    ("a FIFO", |_, path| {
        let (kind, mode) = (FileType::Fifo, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    }),
    ("a regular file", |_, path| {
        std::fs::write(path, "mine").unwrap()
    }),
];

/// The error of a peer about a path that it cannot use.
fn refused<O: Order>(peer: &mut Peer<O>) -> Line {
    let failed = peer.next_line();
    assert_eq!(failed.text("kind"), "BadPath", "{failed}");
    assert_eq!(failed.text("retryable"), "false", "{failed}");
    failed
}

#[test]
fn whatever_stands_at_its_path_a_producer_ends_with_a_reason() {
    for (kind, put) in KINDS {
        let place = Place::new();
        let _live = Publisher::builder(place.channel("live")).open().unwrap();
        let path = place.socket("cam0");
        put(&place, &path);
        let before = std::fs::symlink_metadata(&path).unwrap().file_type();
        let text = refused(&mut Producer::launch(&place, ""));
        assert!(text.text("text").contains(kind), "{kind}: {text}");
        // The file is left alone, and nothing is left beside it.
        let after = std::fs::symlink_metadata(&path).unwrap().file_type();
        assert_eq!(before, after);
        assert_eq!(place.files(), ["cam0.sock", "live.sock"]);
    }
}

#[test]
fn whatever_stands_at_its_path_a_client_ends_with_a_reason() {
    for (kind, put) in KINDS {
        let place = Place::new();
        let _live = Publisher::builder(place.channel("live")).open().unwrap();
        put(&place, &place.socket("cam0"));
        let mut client = Client::start(&place, "");
        // Without a timeout the client would wait for a producer until it is killed.
        client.order(ClientOrder::Connect);
        let text = refused(&mut client);
        assert!(text.text("text").contains(kind), "{kind}: {text}");
    }
}

#[test]
fn a_device_is_no_socket() {
    let channel = || Channel::path("/dev/null");
    let error = Publisher::builder(channel()).open().unwrap_err();
    assert!(error.to_string().contains("a device"), "{error}");
    let error = Subscriber::builder(channel()).connect().unwrap_err();
    assert!(error.to_string().contains("a device"), "{error}");
}

#[test]
fn a_file_on_the_way_to_the_path_is_named_as_the_reason() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "mine").unwrap();
    let channel = || Channel::path(place.path().join("file/cam0.sock"));
    let errors = [
        Publisher::builder(channel()).open().unwrap_err(),
        Subscriber::builder(channel()).connect().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::BadPath { .. }), "{error:?}");
        assert!(error.to_string().contains("not a directory"), "{error}");
    }
}

#[test]
fn a_runtime_directory_that_is_a_link_is_refused() {
    let place = Place::new();
    let link = place.path().join("link");
    symlink(place.path(), &link).unwrap();
    let env = || {
        let mut command = Command::new("env");
        command.arg(format!("XMEM_RUNTIME_DIR={}", link.display()));
        command
    };
    let mut producer = Producer::spawn(Producer::within(env(), ""), &place);
    let mut client = Client::start_with(Client::within(env(), ""), &place);
    client.order(ClientOrder::Connect);
    for text in [refused(&mut producer), refused(&mut client)] {
        assert!(text.text("text").contains("symbolic link"), "{text}");
        assert!(text.text("text").contains("XMEM_RUNTIME_DIR"), "{text}");
    }
}

#[test]
fn a_path_may_lead_through_links() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("real")).unwrap();
    symlink("real", place.path().join("link")).unwrap();
    let publisher = Publisher::builder(Channel::path(place.path().join("link/cam0.sock")))
        .open()
        .unwrap();
    pattern::publish(&publisher, 0, 1000, 0).unwrap();
    for way in ["link/cam0.sock", "real/cam0.sock"] {
        let channel = Channel::path(place.path().join(way));
        let mut subscriber = Subscriber::builder(channel).connect().unwrap();
        pattern::check(&subscriber.receive(Some(PATIENCE)).unwrap()).unwrap();
    }
}

/// Another user can do that to everything in `/tmp`.
#[test]
fn a_client_times_out_though_names_come_and_go_beside_its_path() {
    let place = Place::new();
    let over = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        for number in 0..4 {
            let file = place.path().join(format!("file{number}"));
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::fs::write(&file, "").unwrap();
                    std::fs::remove_file(&file).unwrap();
                }
            });
        }
        let mut client = Client::start(&place, "timeout-ms=50");
        let failed = client.outcome(ClientOrder::Connect);
        over.store(true, Ordering::Relaxed);
        failed
    });
    assert_eq!(error.text("kind"), "NoProducer", "{error}");
}

#[test]
fn a_client_that_waits_for_a_producer_and_finds_a_link_later_ends_with_a_reason() {
    let place = Place::new();
    let mut client = Client::start(&place, "");
    client.order(ClientOrder::Connect);
    xmem_tests::process::until_asleep(client.pid(), "worker");
    symlink("nothing", place.socket("cam0")).unwrap();
    let text = refused(&mut client);
    assert!(text.text("text").contains("symbolic link"), "{text}");
}

#[test]
fn a_producer_that_was_cancelled_does_not_open() {
    let place = Place::new();
    let canceller = Canceller::new();
    canceller.cancel();
    let open = || {
        let builder = Publisher::builder(place.channel("cam0"));
        builder.canceller(canceller.clone()).open()
    };
    let error = open().unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!(place.files(), [""; 0]);
    canceller.reset();
    open().unwrap();
}

/// The kernel does not report these changes to a process that watches a directory.
#[test]
fn a_client_that_waits_notices_that_its_path_leads_elsewhere() {
    type Change = fn(&Path);
    let changes: [Change; 2] = [
        |root| {
            std::fs::rename(root.join("a"), root.join("old")).unwrap();
            std::fs::create_dir_all(root.join("a/b")).unwrap();
        },
        |root| {
            std::fs::create_dir_all(root.join("other/b")).unwrap();
            std::fs::rename(root.join("a"), root.join("old")).unwrap();
            symlink("other", root.join("a")).unwrap();
        },
    ];
    for change in changes {
        let place = Place::new();
        let root = place.socket("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let path = root.join("a/b/cam0.sock");
        let channel = Channel::path(&path);
        std::thread::scope(|scope| {
            let client = std::thread::Builder::new().name("waits".into());
            let connect = || {
                let client = Subscriber::builder(channel.clone());
                client.connect_timeout(Some(PATIENCE)).connect()
            };
            let client = client.spawn_scoped(scope, connect).unwrap();
            process::until_asleep(std::process::id(), "waits");
            change(&root);
            let _publisher = Publisher::builder(channel.clone()).open().unwrap();
            client
                .join()
                .unwrap()
                .expect("the client finds its producer");
        });
    }
}
