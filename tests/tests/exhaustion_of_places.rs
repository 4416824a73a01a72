//! The place for a socket is full, not writable, or not a directory. The error names the path and
//! what helps.
//!
//! The file systems are mounted in a mount namespace of the peer, so nothing of them is left.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;
use xmem_tests::order::Order;
use xmem_tests::{
    Client, ClientOrder, Opener, OpenerOrder, Peer, Place, Producer, nobody, process,
};

/// A peer in a mount namespace that the shell command `prepare` sets up. It finds the runtime
/// directory in `$XMEM_RUNTIME_DIR`. `None` if this test cannot create a namespace.
fn elsewhere<O: Order>(place: &Place, prepare: &str, settings: &str) -> Option<Peer<O>> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-ec", script, "sh"]);
        command
    };
    let possible = unshare("mount -t tmpfs none /mnt").status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tried: mount namespaces are not available");
        return None;
    }
    let unshare = unshare(&format!("{prepare}; exec \"$@\""));
    Some(Peer::start_with(
        Peer::<O>::within(unshare, settings),
        place,
    ))
}

/// A client in the mount namespace of another process.
fn beside(pid: u32, place: &Place) -> Client {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &pid.to_string()]);
    if !geteuid().is_root() {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    nsenter.arg("--mount");
    Client::start_with(Client::within(nsenter, ""), place)
}

/// A peer with another runtime directory.
fn with_directory<O: Order>(directory: &Path, place: &Place) -> Peer<O> {
    let mut env = Command::new("env");
    env.arg(format!("XMEM_RUNTIME_DIR={}", directory.display()));
    Peer::start_with(Peer::<O>::within(env, ""), place)
}

/// Opens a channel, publishes, and has a client in the same namespace receive.
fn works(producer: &mut Opener, place: &Place) {
    producer.ask(OpenerOrder::Open);
    producer.ask(OpenerOrder::Publish);
    let mut client = beside(producer.pid(), place);
    client.connect();
    client.receive(1);
}

#[test]
fn a_file_system_without_inodes_is_named_and_so_is_what_helps() {
    // The directory, the socket and the name of the socket need one inode each.
    for inodes in 1..4 {
        let place = Place::new();
        let mount = format!("mount -t tmpfs -o mode=700,nr_inodes={inodes} none $XMEM_RUNTIME_DIR");
        let Some(mut producer) = elsewhere::<OpenerOrder>(&place, &mount, "") else {
            return;
        };
        process::until_asleep(producer.pid(), "worker");
        let before = process::fd_count(producer.pid());
        if inodes < 3 {
            let failed = producer.fail_at(OpenerOrder::Open);
            let path = place.socket("cam0").display().to_string();
            let words = [&path, "full", "inode", "XMEM_RUNTIME_DIR", "socket path"];
            failed.says("ResourceExhausted", &words);
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
    if let Some(mut producer) = elsewhere::<OpenerOrder>(&place, fill, "slot-size=100000") {
        works(&mut producer, &place);
    }
}

#[test]
fn a_read_only_runtime_directory_keeps_producers_out_and_lets_clients_in() {
    let place = Place::new();
    let mount = "mount --bind $XMEM_RUNTIME_DIR $XMEM_RUNTIME_DIR; \
                 mount -o remount,bind,ro $XMEM_RUNTIME_DIR";
    let Some(mut producer) = elsewhere::<OpenerOrder>(&place, mount, "") else {
        return;
    };
    let path = place.socket("cam0").display().to_string();
    let words = [&path, "Read-only", "XMEM_RUNTIME_DIR", "socket path"];
    producer.fail_at(OpenerOrder::Open).says("BadPath", &words);
    // Other processes see the same directory, and can write to it.
    let mut outside = Producer::start(&place, "");
    outside.publish(1, 1000);
    let mut client =
        elsewhere::<ClientOrder>(&place, mount, "").expect("a namespace is possible, as before");
    client.connect();
    client.receive(1);
}

#[test]
fn a_runtime_directory_that_can_not_be_made_is_named() {
    let place = Place::new();
    let mount = "mount -t tmpfs -o ro none $XMEM_RUNTIME_DIR; \
                 export XMEM_RUNTIME_DIR=$XMEM_RUNTIME_DIR/below";
    let Some(mut producer) = elsewhere::<OpenerOrder>(&place, mount, "") else {
        return;
    };
    let path = place.path().join("below").display().to_string();
    let words = [&path, "Read-only", "XMEM_RUNTIME_DIR"];
    producer.fail_at(OpenerOrder::Open).says("BadPath", &words);
}

#[test]
fn a_runtime_directory_is_made_for_its_user_alone() {
    let place = Place::new();
    let directory = place.path().join("two/levels");
    with_directory::<OpenerOrder>(&directory, &place).ask(OpenerOrder::Open);
    let made = fs::metadata(&directory).expect("the directory was created");
    assert_eq!(made.mode() & 0o777, 0o700);
}

#[test]
fn a_runtime_directory_that_is_a_file_is_left_alone() {
    let place = Place::new();
    let file = place.path().join("notes");
    fs::write(&file, "of value").expect("a file");
    for directory in [file.clone(), file.join("below")] {
        for failed in [
            with_directory::<OpenerOrder>(&directory, &place).fail_at(OpenerOrder::Open),
            with_directory::<ClientOrder>(&directory, &place).fail_at(ClientOrder::Connect),
        ] {
            let path = directory.display().to_string();
            failed.says("BadPath", &[&path, "not a directory"]);
        }
    }
    assert_eq!(
        fs::read_to_string(&file).expect("the file exists"),
        "of value"
    );
}

#[test]
fn a_runtime_directory_that_its_user_can_not_write_is_named() {
    let place = Place::new();
    let Some(command) = nobody::running(Opener::command(""), &place) else {
        return;
    };
    let mut producer = Opener::start_with(command, &place);
    let path = place.path().display().to_string();
    for (mode, words) in [
        (
            0o500,
            [path.as_str(), "Permission denied", "XMEM_RUNTIME_DIR"],
        ),
        (0o555, [path.as_str(), "open to other users", "chmod 700"]),
    ] {
        fs::set_permissions(place.path(), Permissions::from_mode(mode)).expect("root may");
        producer.fail_at(OpenerOrder::Open).says("BadPath", &words);
    }
    fs::set_permissions(place.path(), Permissions::from_mode(0o700)).expect("root may");
    producer.ask(OpenerOrder::Open);
}

#[test]
fn without_any_setting_the_socket_is_in_tmp() {
    let place = Place::new();
    let forget = "unset XMEM_RUNTIME_DIR XDG_RUNTIME_DIR; P=$(mktemp -u); \
                  cp \"$1\" /dev/shm/xmem-test-peer-$$; mount -t tmpfs none /tmp; \
                  mv /dev/shm/xmem-test-peer-$$ /tmp/peer; shift; set -- /tmp/peer \"$@\"";
    let Some(mut producer) = elsewhere::<OpenerOrder>(&place, forget, "") else {
        return;
    };
    let opened = producer.ask(OpenerOrder::Open);
    let directory = opened.text("text").strip_suffix("/cam0.sock");
    let directory = directory.expect("the socket of the channel").to_owned();
    assert!(directory.starts_with("/tmp/xmem-"), "{directory}");
}
