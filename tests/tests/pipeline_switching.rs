//! A source that is switched to another channel while it plays, and the warnings about properties
//! that cannot be changed then.

use xmem_tests::Place;
use xmem_tests::pipeline::{Order, Pipeline};

fn camera(place: &Place, channel: &str, caps: &str) -> Pipeline {
    let camera = format!(
        "videotestsrc is-live=true ! video/x-raw,{caps},framerate=60/1 \
         ! xmemsink name=sink {channel}"
    );
    let mut camera = Pipeline::play(place, &[], &camera);
    camera.until_stats("sink", "the camera runs", |stats| {
        stats.number("published") > 3
    });
    camera
}

const SMALL: &str = "format=RGB,width=64,height=48";
const LARGE: &str = "format=NV12,width=320,height=240";

#[test]
fn a_source_goes_on_with_another_channel_and_its_caps() {
    let place = Place::new();
    let _one = camera(&place, "channel=one", SMALL);
    let _two = camera(&place, "channel=two", LARGE);
    let client = "xmemsrc name=src channel=one ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 5);
    for round in 0..10 {
        let (channel, width) = [("two", "320"), ("one", "64")][round % 2];
        let mark = client.mark();
        client.order(Order::set("src", "channel", channel));
        client.until_since(mark, "the caps of the other channel arrive", |line| {
            line.get("type") == Some("caps") && line.text("text").contains(width)
        });
        client.until_buffers_since(mark, "out.sink", 5);
    }
    let times = client.buffers("out.sink");
    let times = times.iter().map(|buffer| buffer.number("due"));
    assert!(times.is_sorted_by(|one, next| one < next));
    let stats = client.stats("src");
    assert_eq!(stats.number("connections"), 11, "{stats}");
    assert!(client.messages().is_empty(), "{:?}", client.messages());
}

#[test]
fn a_source_that_waits_for_one_channel_goes_on_with_another_at_once() {
    let place = Place::new();
    let path = place.socket("elsewhere");
    let _camera = camera(&place, &format!("socket-path={}", path.display()), SMALL);
    let client = "xmemsrc name=src channel=missing connection-timeout=-1 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    // The path replaces the name.
    client.order(Order::set("src", "socket-path", path.display()));
    client.until_buffers("out.sink", 5);
}

#[test]
fn a_name_that_no_channel_can_have_leaves_the_source_where_it_is() {
    let place = Place::new();
    let _camera = camera(&place, "channel=one", SMALL);
    let client = "xmemsrc name=src channel=one ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 5);
    client.order(Order::set("src", "channel", "a/b"));
    let warning = client.until_message("warning");
    assert_eq!(warning.text("kind"), "Resource.Settings", "{warning}");
    let mark = client.mark();
    client.until_buffers_since(mark, "out.sink", 5);
}

#[test]
fn a_property_that_comes_too_late_is_a_warning() {
    let place = Place::new();
    let mut camera = camera(&place, "channel=one", SMALL);
    camera.order(Order::set("sink", "max-buffers", "7"));
    let warning = camera.until_message("warning");
    assert!(warning.text("text").contains("max-buffers"), "{warning}");
    let client = "xmemsrc name=src channel=one ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 5);
    client.order(Order::set("src", "max-leases", "7"));
    let warning = client.until_message("warning");
    assert!(warning.text("text").contains("max-leases"), "{warning}");
}
