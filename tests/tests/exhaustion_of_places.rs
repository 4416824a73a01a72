//! The place for a socket is full, not writable, or not a directory. The error names the path and
//! what helps.
//!
//! The file systems are mounted in a mount namespace of the peer, so nothing of them is left.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Gid, Uid, chown};
use rustix::process::geteuid;
use xmem_tests::{Line, Peer, Place, process};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");
const NOBODY: u32 = 65534;

/// A peer in a mount namespace that the shell command `prepare` sets up. It finds the runtime
/// directory in `$XMEM_RUNTIME_DIR`. `None` if this test cannot create a namespace.
fn elsewhere(place: &Place, prepare: &str, arguments: &str) -> Option<Peer> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-ec", script, "sh", PEER]);
        command
    };
    let possible = unshare("mount -t tmpfs none /mnt").status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tried: mount namespaces are not available");
        return None;
    }
    let mut command = unshare(&format!("{prepare}; exec \"$@\""));
    command.args(arguments.split_whitespace());
    let mut peer = Peer::spawn(command, place, arguments);
    peer.wait_for("ready");
    Some(peer)
}

/// A peer in the mount namespace of another one.
fn beside(other: &Peer, place: &Place, arguments: &str) -> Peer {
    let mut command = Command::new("nsenter");
    command.args(["--target", &other.pid().to_string()]);
    if !geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command
        .args(["--mount", PEER])
        .args(arguments.split_whitespace());
    let mut peer = Peer::spawn(command, place, arguments);
    peer.wait_for("ready");
    peer
}

fn says(failed: &Line, kind: &str, words: &[&str]) {
    assert_eq!(failed.text("kind"), kind, "{failed}");
    for word in words {
        assert!(failed.text("text").contains(word), "{word:?}: {failed}");
    }
}

/// Opens a channel, publishes, and has a client in the same namespace receive.
fn works(producer: &mut Peer, place: &Place) {
    producer.ask("open", "opened");
    producer.ask("publish", "published");
    let mut client = beside(producer, place, "client channel=cam0");
    client.ask("connect", "connected");
    client.ask("receive count=1", "received");
}

#[test]
fn a_file_system_without_inodes_is_named_and_so_is_what_helps() {
    // The directory, the socket and the name of the socket need one inode each.
    for inodes in 1..4 {
        let place = Place::new();
        let mount = format!("mount -t tmpfs -o mode=700,nr_inodes={inodes} none $XMEM_RUNTIME_DIR");
        let Some(mut producer) = elsewhere(&place, &mount, "opener channel=cam0") else {
            return;
        };
        process::until_asleep(producer.pid(), "worker");
        let before = process::fd_count(producer.pid());
        if inodes < 3 {
            producer.order("open");
            let path = place.socket("cam0").display().to_string();
            let words = [&path, "full", "inode", "XMEM_RUNTIME_DIR", "socket path"];
            let failed = producer.next_line();
            says(&failed, "ResourceExhausted", &words);
            assert_eq!(failed.text("retryable"), "true");
            assert_eq!(process::fd_count(producer.pid()), before);
            // With free inodes it works, because the failure left nothing in the way.
            let more = "mount -o remount,nr_inodes=10 none $XMEM_RUNTIME_DIR";
            let pid = producer.pid().to_string();
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--mount", "sh", "-c", more]);
            command.env("XMEM_RUNTIME_DIR", place.path());
            assert!(command.status().expect("nsenter starts").success());
        }
        works(&mut producer, &place);
    }
}

#[test]
fn a_file_system_full_of_data_does_not_matter() {
    let place = Place::new();
    let fill = "mount -t tmpfs -o mode=700,size=8k none $XMEM_RUNTIME_DIR; \
                head -c 20000 /dev/zero >$XMEM_RUNTIME_DIR/data 2>/dev/null || true";
    if let Some(mut producer) = elsewhere(&place, fill, "opener channel=cam0 slot-size=100000") {
        works(&mut producer, &place);
    }
}

#[test]
fn a_read_only_runtime_directory_keeps_producers_out_and_lets_clients_in() {
    let place = Place::new();
    let mount = "mount --bind $XMEM_RUNTIME_DIR $XMEM_RUNTIME_DIR; \
                 mount -o remount,bind,ro $XMEM_RUNTIME_DIR";
    let Some(mut producer) = elsewhere(&place, mount, "opener channel=cam0") else {
        return;
    };
    producer.order("open");
    let path = place.socket("cam0").display().to_string();
    let words = [&path, "Read-only", "XMEM_RUNTIME_DIR", "socket path"];
    says(&producer.next_line(), "BadPath", &words);
    // Other processes see the same directory, and can write to it.
    let mut outside = Peer::start(PEER, &place, "producer channel=cam0");
    outside.wait_for("opened");
    outside.ask("publish count=1 size=1000", "published");
    let mut client = elsewhere(&place, mount, "client channel=cam0")
        .expect("a namespace is possible, as before");
    client.ask("connect", "connected");
    client.ask("receive count=1", "received");
}

#[test]
fn a_runtime_directory_that_can_not_be_made_is_named() {
    let place = Place::new();
    let mount = "mount -t tmpfs -o ro none $XMEM_RUNTIME_DIR; \
                 export XMEM_RUNTIME_DIR=$XMEM_RUNTIME_DIR/below";
    let Some(mut producer) = elsewhere(&place, mount, "opener channel=cam0") else {
        return;
    };
    producer.order("open");
    let path = place.path().join("below").display().to_string();
    says(
        &producer.next_line(),
        "BadPath",
        &[&path, "Read-only", "XMEM_RUNTIME_DIR"],
    );
}

#[test]
fn a_runtime_directory_is_made_for_its_user_alone() {
    let place = Place::new();
    let directory = place.path().join("two/levels");
    let mut command = Command::new("env");
    command.arg(format!("XMEM_RUNTIME_DIR={}", directory.display()));
    command.args([PEER, "opener", "channel=cam0"]);
    let mut producer = Peer::spawn(command, &place, "opener");
    producer.ask("open", "opened");
    let made = fs::metadata(&directory).expect("the directory was created");
    assert_eq!(made.mode() & 0o777, 0o700);
}

#[test]
fn a_runtime_directory_that_is_a_file_is_left_alone() {
    let place = Place::new();
    let file = place.path().join("notes");
    fs::write(&file, "of value").expect("a file");
    for directory in [file.clone(), file.join("below")] {
        for (role, order) in [("opener", "open"), ("client", "connect")] {
            let mut command = Command::new("env");
            command.arg(format!("XMEM_RUNTIME_DIR={}", directory.display()));
            command.args([PEER, role, "channel=cam0"]);
            let mut peer = Peer::spawn(command, &place, role);
            peer.wait_for("ready");
            peer.order(order);
            let path = directory.display().to_string();
            says(&peer.next_line(), "BadPath", &[&path, "not a directory"]);
        }
    }
    assert_eq!(
        fs::read_to_string(&file).expect("the file exists"),
        "of value"
    );
}

#[test]
fn a_runtime_directory_that_its_user_can_not_write_is_named() {
    let as_nobody = |program: &str| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    let may = as_nobody("test").args(["-x", PEER]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not tried: no other user can start a peer here");
        return;
    }
    let place = Place::new();
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    chown(place.path(), Some(uid), Some(gid))
        .expect("a process that can become another user may change the owner");
    let mut command = as_nobody(PEER);
    command.args(["opener", "channel=cam0"]);
    let mut producer = Peer::spawn(command, &place, "opener");
    producer.wait_for("ready");
    let path = place.path().display().to_string();
    for (mode, words) in [
        (
            0o500,
            [path.as_str(), "Permission denied", "XMEM_RUNTIME_DIR"],
        ),
        (0o555, [path.as_str(), "open to other users", "chmod 700"]),
    ] {
        fs::set_permissions(place.path(), Permissions::from_mode(mode)).expect("root may");
        producer.order("open");
        says(&producer.next_line(), "BadPath", &words);
    }
    fs::set_permissions(place.path(), Permissions::from_mode(0o700)).expect("root may");
    producer.ask("open", "opened");
}

#[test]
fn without_any_setting_the_socket_is_in_tmp() {
    let place = Place::new();
    let forget = "unset XMEM_RUNTIME_DIR XDG_RUNTIME_DIR; P=$(mktemp -u); \
                  cp \"$1\" /dev/shm/xmem-test-peer-$$; mount -t tmpfs none /tmp; \
                  mv /dev/shm/xmem-test-peer-$$ /tmp/peer; shift; set -- /tmp/peer \"$@\"";
    let Some(mut producer) = elsewhere(&place, forget, "opener channel=cam0") else {
        return;
    };
    let opened = producer.ask("open", "opened");
    let directory = opened.text("text").strip_suffix("/cam0.sock");
    let directory = directory.expect("the socket of the channel").to_owned();
    assert!(directory.starts_with("/tmp/xmem-"), "{directory}");
}
