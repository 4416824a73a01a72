//! Pipelines for shmsink and unixfdsink work with xmemsink instead.

use tempfile::TempDir;
use xmem_tests::launched::Launched;
use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Place, until};

#[test]
fn a_pipeline_of_unixfdsink_works_with_xmemsink() {
    let directory = TempDir::new().unwrap();
    let place = Place::new();
    let socket = directory.path().join("video.sock");
    let socket = socket.display();
    let mut producer = Launched::start(
        &place,
        &format!(
            "videotestsrc is-live=true ! video/x-raw,format=NV12,width=320,height=240 \
             ! queue ! xmemsink socket-path={socket} sync=false async=false"
        ),
    );
    let client = format!("xmemsrc socket-path={socket} ! queue ! videoconvert ! fakesink name=out");
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    client.until_buffers("out.sink", 30);
    assert!(client.caps("out.sink")[0].contains("width=(int)320"));
    producer.interrupt();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_pipeline_of_shmsink_works_with_xmemsink() {
    let directory = TempDir::new().unwrap();
    let place = Place::new();
    let socket = directory.path().join("video");
    let socket = socket.display();
    // shmsink holds the stream until a client connects, and its clients need to know the caps.
    let mut producer = Launched::start(
        &place,
        &format!(
            "videotestsrc num-buffers=100 ! video/x-raw,format=RGB,width=320,height=240 \
             ! xmemsink socket-path={socket} perms=432 wait-for-connection=true sync=false \
             overflow=block"
        ),
    );
    let client = format!(
        "xmemsrc socket-path={socket} do-timestamp=true is-live=true \
         ! video/x-raw,format=RGB,width=320,height=240 ! fakesink name=out"
    )
    .replace(" is-live=true", "");
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    client.until_eos();
    assert_eq!(client.buffers("out.sink").len(), 100);
    let (status, output) = producer.wait();
    assert!(status.success(), "{output}");
    until("the socket is gone", || {
        std::fs::read_dir(directory.path()).unwrap().count() == 0
    });
}
