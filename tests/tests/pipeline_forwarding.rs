//! Memory that a sink did not make, imported as it is: through a chain of four processes, and from
//! elements of other plugins.

use std::collections::HashSet;

use xmem_tests::pipeline::{
    CLIENT, LOSSLESS, Memfds, Order, PUSHING, Pipeline, Push, State, threads,
};
use xmem_tests::process::page_faults;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Line, Place, process, until};

const PICTURE: &str = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
const CAMERA: &str = "videotestsrc is-live=true pattern=ball \
                      ! video/x-raw,format=RGB,width=64,height=48,framerate=100/1";

/// The process in the middle, from channel `from` to the next.
fn middle(from: u32, settings: &str) -> String {
    let to = from + 1;
    format!(
        "xmemsrc name=src channel=cam{from} max-leases=8 on-disconnect=reconnect \
         connection-timeout=18446744073709551615 ! identity \
         ! xmemsink name=sink channel=cam{to} {settings}"
    )
}

const LAST: &str = "xmemsrc name=src channel=cam2 on-disconnect=reconnect \
                    connection-timeout=18446744073709551615 ! fakesink name=out";

/// A producer that sends what the test pushes, two processes that forward it, and the last client.
struct Chain {
    producer: Pipeline,
    middle: [Pipeline; 2],
    last: Pipeline,
}

impl Chain {
    /// All of them have received the first frame.
    fn of_pushes(place: &Place) -> Chain {
        let producer = format!("{PUSHING} {LOSSLESS}");
        Chain::new(place, &producer, LOSSLESS)
    }

    fn new(place: &Place, producer: &str, settings: &str) -> Chain {
        let last = Pipeline::play(place, &["report out.sink"], LAST);
        let middle = [0, 1].map(|from| Pipeline::play(place, &[], &middle(from, settings)));
        let mut producer = Pipeline::start(place, &["report sink.sink"], producer);
        producer.change(State::Ready);
        producer.until_clients("sink", 1);
        let mut chain = Chain {
            producer,
            middle,
            last,
        };
        for one in &mut chain.middle {
            one.until_clients("sink", 1);
        }
        chain.producer.change(State::Playing);
        chain
    }

    /// Checks that the last client has received what was sent.
    fn compare(&mut self) {
        let received = self.last.digests("out.sink").len();
        self.producer.until_buffers("sink.sink", received);
        assert_same(&self.producer, &self.last);
    }

    /// Pushes a frame, and waits until the last client has received it.
    fn pass(&mut self, frame: Push) {
        let mark = self.last.mark();
        self.producer.push(frame);
        self.last.until_buffers_since(mark, "out.sink", 1);
    }
}

fn assert_same(producer: &Pipeline, client: &Pipeline) {
    let (sent, received) = (producer.digests("sink.sink"), client.digests("out.sink"));
    let same = sent == received;
    assert!(same, "{} sent, {} received", sent.len(), received.len());
}

fn all_imported(stats: &Line, frames: u64) {
    assert_eq!(stats.number("imported"), frames, "{stats}");
    assert_eq!(stats.number("published"), frames, "{stats}");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    assert_eq!(stats.number("copied-bytes"), 0, "{stats}");
}

#[test]
fn frames_go_through_four_processes_without_a_copy_or_a_page_fault() {
    const WARM_UP: u64 = 100;
    const FRAMES: u64 = 2000;
    let place = Place::new();
    let mut chain = Chain::of_pushes(&place);
    let faults = |chain: &Chain| {
        let [first, second] = &chain.middle;
        [first, second, &chain.last].map(|one| page_faults(one.pid()))
    };
    for number in 0..WARM_UP {
        chain.pass(Push::of(PICTURE).seed(number));
    }
    let before = faults(&chain);
    for number in WARM_UP..WARM_UP + FRAMES {
        chain.pass(Push::of(PICTURE).seed(number));
    }
    let after = faults(&chain);
    chain.compare();
    for one in &mut chain.middle {
        all_imported(&one.stats("sink"), WARM_UP + FRAMES);
        // All its payload mappings are read-only, and none of the memory is its own.
        assert_eq!(one.stats("sink").number("memory"), 0);
    }
    for (before, after) in before.into_iter().zip(after) {
        let faults = after - before;
        // 0.00 per frame: this leaves room for page faults that happen once. While another process is
        // late, more frames are on their way, and the memory for their metas is made 16 pages at a time.
        assert!(faults * 50 < FRAMES, "{faults} page faults in {FRAMES}");
    }
    assert_eq!(chain.producer.stats("sink").number("client-0-missed"), 0);
}

#[test]
fn sub_buffers_are_imported_with_their_offset() {
    let place = Place::new();
    let mut chain = Chain::of_pushes(&place);
    let push = Push::bytes(5000).memfds(Memfds::from(20).prefix(777));
    for number in 0..20 {
        chain.pass(push.clone().seed(number));
    }
    chain.compare();
    all_imported(&chain.producer.stats("sink"), 20);
    for one in &mut chain.middle {
        all_imported(&one.stats("sink"), 20);
    }
}

/// Each tensor is a memory of its own, in the first process and in the last.
#[test]
fn frames_of_several_tensors_are_imported() {
    let place = Place::new();
    let mut chain = Chain::of_pushes(&place);
    let caps = "other/tensors,format=static,num_tensors=2,dimensions=(string)\"3:64:48,9216\",\
                types=(string)\"uint8,uint8\",framerate=(fraction)30/1";
    for number in 0..20 {
        chain.pass(Push::of(caps).size(18432).memories(2).seed(number));
    }
    chain.compare();
    for one in &mut chain.middle {
        all_imported(&one.stats("sink"), 20);
    }
}

#[test]
fn any_of_four_processes_can_be_killed_and_started_again() {
    let place = Place::new();
    let producer = format!("{CAMERA} ! xmemsink name=sink channel=cam0");
    for victim in 0..4 {
        let mut chain = Chain::new(&place, &producer, "");
        chain.last.until_buffers("out.sink", 20);
        let mark = chain.last.mark();
        match victim {
            0 => {
                chain.producer.kill();
                chain.producer = Pipeline::play(&place, &[], &producer);
            }
            3 => {
                chain.last.kill();
                chain.last = Pipeline::play(&place, &["report out.sink"], LAST);
            }
            middle_one => {
                let from = middle_one - 1;
                let one = &mut chain.middle[from];
                one.kill();
                *one = Pipeline::play(&place, &[], &middle(from as u32, ""));
            }
        }
        let mark = if victim == 3 { 0 } else { mark };
        chain.last.until_buffers_since(mark, "out.sink", 50);
        // No process that was not killed has failed.
        let [first, second] = &chain.middle;
        for one in [&chain.producer, first, second, &chain.last] {
            assert_eq!(one.messages(), [""; 0], "victim {victim}");
        }
    }
}

#[test]
fn any_of_four_processes_can_be_stopped_without_those_before_it_noticing() {
    let place = Place::new();
    let producer = format!("{CAMERA} ! xmemsink name=sink channel=cam0");
    let mut chain = Chain::new(&place, &producer, "");
    let mut others = [0, 1, 2].map(|channel| {
        let other = format!("xmemsrc name=src channel=cam{channel} ! fakesink name=out");
        Pipeline::play(&place, &["report out.sink"], &other)
    });
    chain.last.until_buffers("out.sink", 20);
    for victim in 1..4 {
        for other in &mut others {
            other.until_buffers("out.sink", 20);
        }
        let stopped = match victim {
            3 => &chain.last,
            middle_one => &chain.middle[middle_one - 1],
        };
        stopped.stop();
        // A process before the victim continues, for much longer than there are leases.
        for other in &mut others[..victim] {
            let mark = other.mark();
            other.until_buffers_since(mark, "out.sink", 200);
        }
        let stopped = match victim {
            3 => &chain.last,
            middle_one => &chain.middle[middle_one - 1],
        };
        stopped.resume();
        let mark = chain.last.mark();
        chain.last.until_buffers_since(mark, "out.sink", 50);
    }
    for one in [&mut chain.producer].into_iter().chain(&mut chain.middle) {
        assert_eq!(one.messages(), [""; 0]);
        let stats = one.stats("sink");
        assert_eq!(stats.number("dropped"), 0, "{stats}");
    }
}

#[test]
fn a_stopped_client_does_not_starve_others() {
    let place = Place::new();
    let producer = format!("{CAMERA} ! xmemsink name=sink channel=cam0");
    let mut producer = Pipeline::play(&place, &[], &producer);
    let mut relay = Pipeline::play(&place, &[], &middle(0, ""));
    let client = "xmemsrc channel=cam1 max-leases=16 ! fakesink name=out";
    let mut hoarder = Pipeline::play(&place, &["count out.sink"], client);
    hoarder.hold("out.sink", 14);
    until("the hoarder holds frames", || {
        hoarder.watched("out.sink").number("count") > 50
    });
    hoarder.stop();
    // The client holds more frames than the relay has leases, so the relay copies further frames.
    let copied = relay.stats("sink").number("copied");
    relay.until_stats("sink", "the relay copies", |stats| {
        stats.number("copied") > copied + 100
    });
    let client = "xmemsrc name=src channel=cam1 ! fakesink name=out";
    let mut other = Pipeline::play(&place, &["report out.sink"], client);
    other.until_buffers("out.sink", 100);
    // When the client is gone, frames are imported again.
    hoarder.kill();
    relay.until_clients("sink", 1);
    let imported = relay.stats("sink").number("imported");
    relay.until_stats("sink", "the relay imports again", |stats| {
        stats.number("imported") > imported + 100
    });
    let published = producer.stats("sink").number("published");
    producer.until_stats("sink", "the producer continues", |stats| {
        stats.number("published") > published
    });
}

/// A frame in the memory of another process exists as long as a client holds it, even after the
/// process that imported it has stopped.
#[test]
fn what_a_client_holds_stays_when_the_process_in_the_middle_stops() {
    let place = Place::new();
    let producer = format!("{CAMERA} ! xmemsink name=sink channel=cam0 sync=false");
    let mut producer = Pipeline::play(&place, &[], &producer);
    let mut relay = Pipeline::play(&place, &[], &middle(0, ""));
    let client = "xmemsrc channel=cam1 on-disconnect=eos ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["count out.sink"], client);
    client.hold("out.sink", 2);
    until("frames arrive at the last client", || {
        client.watched("out.sink").number("count") > 20
    });
    relay.change(State::Null);
    client.until_eos();
    let held = client.held("out.sink");
    let published = producer.stats("sink").number("published");
    producer.until_stats("sink", "the slots were all used again", |stats| {
        stats.number("published") > published + 5 * stats.number("slots")
    });
    assert_eq!(client.held("out.sink"), held);
    // It still has its leases at the producer, as long as the client has its frames.
    assert_eq!(producer.stats("sink").number("clients"), 1);
    client.kill();
    producer.until_clients("sink", 0);
}

/// A producer that pushes, and its client.
fn pushing(place: &Place, settings: &str) -> (Pipeline, Pipeline) {
    let client = Pipeline::play(place, &["report out.sink"], CLIENT);
    let producer = format!("{PUSHING} {LOSSLESS} {settings}");
    let producer = Pipeline::play_for(1, place, &["report sink.sink"], &producer);
    (producer, client)
}

fn pass(producer: &mut Pipeline, client: &mut Pipeline, frame: Push) {
    let (mark, sent) = (client.mark(), producer.mark());
    producer.push(frame);
    client.until_buffers_since(mark, "out.sink", 1);
    producer.until_buffers_since(sent, "sink.sink", 1);
}

#[test]
fn a_pool_of_memfds_is_imported_and_each_is_sent_once() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place, "overflow=drop-oldest");
    let connection = Connection::open(&place.socket("cam0"));
    let welcome = connection.greet(wire::VERSION, 1);
    connection.join(&welcome.fds[1]);
    let reader = std::thread::spawn(move || {
        let mut sent = HashSet::new();
        while let Some(message) = connection.receive() {
            if message.kind == wire::SEGMENT {
                let id = u32::from_le_bytes(message.body[..4].try_into().unwrap());
                assert!(sent.insert(id), "segment {id} twice");
                assert_eq!(message.fds.len(), 1);
            }
        }
        sent
    });
    producer.until_clients("sink", 2);
    let push = Push::bytes(100_000).memfds(40);
    for number in 0..100 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    assert_same(&producer, &client);
    all_imported(&producer.stats("sink"), 100);
    // The client has mapped them read-only, and they can no longer shrink.
    let maps = process::maps(client.pid(), "test-memfd");
    assert!(
        !maps.is_empty() && maps.iter().all(|map| map.access == "r--s"),
        "{maps:?}"
    );
    producer.order(Order::end("src"));
    producer.until_eos();
    producer.change(State::Null);
    let sent = reader.join().expect("the client was told in order");
    assert_eq!(sent.len(), maps.len());
    assert!(sent.len() < 40, "{} memfds", sent.len());
}

/// After the death of a producer, the memory that it imported is no longer held, and another frame
/// may be in it.
#[test]
fn imported_frames_of_a_dead_producer_are_not_received() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let client = "xmemsrc name=src channel=cam0 max-leases=2 on-starved=wait on-disconnect=eos \
                  ! fakesink name=out enable-last-sample=false";
    let buffers = Push::bytes(5000).count(10);
    for (push, is_imported) in [(buffers.clone().memfds(40), true), (buffers, false)] {
        let mut producer = Pipeline::play(&place, &[], producer);
        let mut client = Pipeline::play(&place, &["report out.sink"], client);
        client.hold("out.sink", 2);
        producer.until_clients("sink", 1);
        producer.push(push);
        let stats = producer.until_stats("sink", "all frames are published", |stats| {
            stats.number("published") == 10 && stats.number("client-0-held") == 2
        });
        let imported = if is_imported { 10 } else { 0 };
        assert_eq!(stats.number("imported"), imported, "{stats}");
        client.until_buffers("out.sink", 2);
        producer.kill();
        until("the client has noticed", || {
            !threads(client.pid()).contains(&"xmem-control".to_owned())
        });
        client.hold("out.sink", 0);
        client.until_eos();
        let received = client.buffers("out.sink").len();
        if is_imported {
            assert_eq!(received, 2);
        } else {
            // In the producer's own memory, the frames that its slots still held.
            assert!(received > 2, "{received} received");
        }
    }
}

#[test]
fn memfds_that_can_not_be_sealed_are_copied() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place, "");
    let push = Push::bytes(5000).memfds(Memfds::from(4).sealable(false));
    for number in 0..20 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    assert_same(&producer, &client);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied"), 20, "{stats}");
    assert_eq!(stats.number("imported"), 0, "{stats}");
    assert!(process::maps(client.pid(), "test-memfd").is_empty());
}

#[test]
fn memory_of_other_elements_is_copied_if_that_is_set() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place, "import-memory=false");
    let push = Push::bytes(5000).memfds(4);
    for number in 0..20 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    assert_same(&producer, &client);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied"), 20, "{stats}");
}

#[test]
fn a_pool_keeps_half_of_its_buffers_for_itself() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &["report sink.sink"], producer);
    let mut client = Pipeline::play(
        &place,
        &["report out.sink"],
        "xmemsrc name=src channel=cam0 ! fakesink name=out",
    );
    producer.until_clients("sink", 1);
    client.hold("out.sink", 3);
    let push = Push::bytes(5000).memfds(6);
    for number in 0..10 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    client.stop();
    let before = producer.stats("sink");
    assert_eq!(before.number("client-0-held"), 3, "{before}");
    // More than the pool has: with an import of all buffers, the producer would wait without end.
    producer.push(push.clone().count(30));
    let after = producer.until_stats("sink", "all frames are published", |stats| {
        stats.number("published") == 40
    });
    let grown = |figure| after.number(figure) - before.number(figure);
    assert_eq!(grown("copied") + grown("imported"), 30, "{after}");
    assert!(grown("copied") >= 15, "{after}");
    client.resume();
    client.hold("out.sink", 0);
    let imported = after.number("imported");
    until("frames are imported again", || {
        producer.order(&push);
        producer.stats("sink").number("imported") > imported
    });
}

#[test]
fn dmabuf_caps_with_other_memory_are_an_error_that_says_so() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &[], producer);
    let caps = "video/x-raw(memory:DMABuf),format=NV12,width=64,height=48,framerate=30/1";
    for push in [Push::of(caps), Push::of(caps).memfds(2)] {
        producer.order(push);
        let error = producer.until_message("error");
        assert!(error.text("text").contains("dmabuf"), "{error}");
        producer.change(State::Null);
        producer.change(State::Playing);
    }
}

/// Memory that its maker may write to or punch holes into is copied while a client exists that does
/// not accept it. Then it is imported again.
#[test]
fn memory_that_others_may_write_is_copied_while_a_client_refuses_it() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place, "");
    let push = Push::bytes(100_000).memfds(20);
    for number in 0..5 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    let careful = "xmemsrc name=src channel=cam0 unsealed-memory=never ! fakesink name=out";
    let mut careful = Pipeline::play(&place, &["report out.sink"], careful);
    producer.until_clients("sink", 2);
    for number in 5..15 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    careful.until_buffers("out.sink", 10);
    assert_eq!(
        careful.digests("out.sink"),
        producer.digests("sink.sink")[5..]
    );
    let stats = producer.stats("sink");
    assert_eq!(stats.number("imported"), 5, "{stats}");
    assert_eq!(stats.number("copied"), 10, "{stats}");
    assert_eq!(stats.number("copied-for-unsealed"), 10, "{stats}");
    let told = producer.until_message("info");
    assert!(told.text("text").contains("unsealed-memory"), "{told}");
    let mark = producer.mark();
    careful.kill();
    producer.until_clients_since(mark, "sink", 1);
    for number in 15..20 {
        pass(&mut producer, &mut client, push.clone().seed(number));
    }
    assert_same(&producer, &client);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("imported"), 10, "{stats}");
    assert_eq!(stats.number("copied"), 10, "{stats}");
}
