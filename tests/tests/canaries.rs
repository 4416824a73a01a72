//! No frame changes while a client holds it, however fast frames are published and however slow the
//! client is.
//!
//! Every byte of a frame follows from its number. It is checked when the frame is received and
//! again before it is released. 200,000 frames, or ten million with `make torture`.

use xmem_tests::producer::Publish;
use xmem_tests::random::Random;
use xmem_tests::{Client, ClientOrder, Place, Producer, ProducerOrder, is_torture};

/// Number of frames that are published between two checks.
const BATCH: u64 = 20_000;

#[test]
fn no_frame_is_torn_at_full_speed() {
    let batches = if is_torture() { 500 } else { 10 };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=3");
    // More clients than processors. Each keeps some frames for up to 0.3 ms.
    let mut clients: Vec<Client> = (0..processors + 3)
        .map(|number| {
            let delivery = ["", "delivery=latest"][number % 2];
            let mut client = Client::connected(&place, &format!("leases=2 {delivery}"));
            client.begin(ClientOrder::Run { linger_us: 300 });
            client
        })
        .collect();
    let mut random = Random::new();
    for _ in 0..batches {
        // One client is stopped while this batch is published.
        let victim = random.number() as usize % clients.len();
        clients[victim].stop();
        producer.ask(Publish::frames(BATCH, 200).extra(24));
        clients[victim].resume();
    }
    let published = batches * BATCH;
    producer.ask(ProducerOrder::Eos);
    for client in &mut clients {
        let ended = client.wait_for("failed");
        assert_eq!(ended.text("kind"), "EndOfStream", "{ended}");
        let progress = client.progress();
        let (frames, missed) = (progress.number("frames"), progress.number("missed"));
        println!("{frames} received, {missed} missed of {published}");
        assert!(
            frames > 0 && progress.number("next") == published,
            "{progress}"
        );
        assert_eq!(frames + missed, published);
    }
}
