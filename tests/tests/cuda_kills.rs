//! Producers and clients of frames in the memory of a GPU are killed at any step, with work of the device
//! pending. The others go on, and nothing is left. The driver is a stand-in.

use std::process::Command;
use std::time::Duration;

use xmem_tests::fakecuda::{FakeCuda, Mode};
use xmem_tests::gpu::*;
use xmem_tests::peer::Peer;
use xmem_tests::random::Random;
use xmem_tests::steps::{Point, Stepped};
use xmem_tests::{Place, process, program, until};

/// How long work of a victim takes: longer than a stretch.
const WORK: Duration = Duration::from_millis(50);
/// Points of a stretch that are tried.
const POINTS: usize = 12;

fn slow() -> FakeCuda {
    FakeCuda::new().mode(Mode::Delay(WORK))
}

/// The stretches include waits for other threads, and are longer in one run than in another.
fn judge(stretch: &str, points: &[Point], reached: usize) {
    let tried = points.len();
    println!("{stretch}: {reached} of {tried} points were reached");
    assert!(
        reached * 3 >= tried,
        "{stretch}: {reached} of {tried} points"
    );
}

fn victim(place: &Place, driver: &FakeCuda, role: &str, stretch: &str) -> Stepped {
    let mut command = Command::new(program::path("xmem-test-gpu"));
    command.args([role, &format!("stretch={stretch}")]);
    driver.apply(&mut command);
    Stepped::start_with(command, place)
}

/// A producer, and a client that must not notice what happens to others.
struct Scene {
    producer: Peer<Produce>,
    survivor: Peer<Consume>,
    position: u64,
    fds: usize,
    driver: FakeCuda,
    place: Place,
}

impl Scene {
    fn new() -> Scene {
        let (place, driver) = (Place::new(), FakeCuda::new());
        let producer = producer(&place, &driver, "");
        let survivor = client(&place, &driver, "");
        let mut scene = Scene {
            producer,
            survivor,
            position: 0,
            fds: 0,
            driver,
            place,
        };
        wait_for_clients(&mut scene.producer, 1);
        scene.goes_on();
        scene.fds = process::fd_count(scene.producer.pid());
        scene
    }

    fn goes_on(&mut self) {
        let value = self.position as u8;
        self.producer.ask(Produce::Publish(SIZE, value));
        assert_next(&mut self.survivor, self.position, value);
        self.position += 1;
    }

    /// The victim has left nothing.
    fn recovers(&mut self) {
        self.goes_on();
        wait_for_clients(&mut self.producer, 1);
        // More frames than there are slots: all are free again.
        for _ in 0..12 {
            self.goes_on();
        }
        assert_eq!(stats(&mut self.producer, "held"), 0);
        process::until_fd_count(self.producer.pid(), self.fds);
        let mut control = self.driver.control(self.producer.pid());
        until("each mapping is one of a segment", || {
            let mappings = control.alive().number("mappings");
            mappings == stats(&mut self.producer, "segments")
        });
    }
}

#[test]
fn a_client_dies_or_is_stopped_at_any_instruction() {
    let driver = slow();
    for stretch in ["connect", "receive", "release", "disconnect"] {
        let mut scene = Scene::new();
        let victim = |scene: &Scene| victim(&scene.place, &driver, "stepped-client", stretch);
        let measured = victim(&scene).measure();
        let points = measured.tried_of(POINTS);
        let mut reached = 0;
        for (number, &point) in points.iter().enumerate() {
            let mut victim = victim(&scene);
            reached += usize::from(victim.run_to(point));
            if number % 2 == 0 {
                victim.freeze();
                for _ in 0..12 {
                    scene.goes_on();
                }
            }
            victim.kill();
            scene.recovers();
        }
        judge(stretch, &points, reached);
    }
}

#[test]
fn clients_killed_at_random_moments_leave_nothing() {
    let (mut scene, driver, mut random) = (Scene::new(), slow(), Random::new());
    for _ in 0..rounds(20) {
        let mut command = Peer::<Consume>::command("leases=2");
        driver.apply(&mut command);
        let mut victim: Peer<Consume> = Peer::spawn(command, &scene.place);
        victim.order(Consume::Run);
        let lifetime = random.number() % 150_000;
        for _ in 0..lifetime / 10_000 {
            scene.goes_on();
        }
        std::thread::sleep(Duration::from_micros(lifetime % 10_000));
        victim.kill();
        scene.goes_on();
    }
    scene.recovers();
}

/// A client of producers that are killed.
struct Heir {
    client: Peer<Consume>,
    fds: usize,
    driver: FakeCuda,
    place: Place,
}

impl Heir {
    fn new() -> Heir {
        let (place, driver) = (Place::new(), FakeCuda::new());
        let client = client(&place, &driver, "channel=none");
        let mut heir = Heir {
            client,
            fds: 0,
            driver,
            place,
        };
        // What it loads once stays.
        let mut first = heir.joins(|heir| {
            let mut first = producer(&heir.place, &heir.driver, "");
            wait_for_clients(&mut first, 1);
            first.ask(Produce::Run(SIZE, 3));
            first
        });
        first.ask(Produce::Close);
        heir.client.wait_for("ended");
        heir.client.ask(Consume::Leave);
        heir.fds = process::fd_count(heir.client.pid());
        heir
    }

    /// The client connects to the producer that `start` starts, and receives what comes.
    fn joins<T>(&mut self, start: impl FnOnce(&Heir) -> T) -> T {
        self.client.order(Consume::Connect(CHANNEL.into()));
        let started = start(self);
        self.client.wait_for("done");
        self.client.order(Consume::Run);
        started
    }

    /// The client has received whole frames, and has nothing of the producer any more.
    fn survives(&mut self) {
        let line = self.client.wait_for("ended");
        assert_eq!(line.number("torn"), 0, "{line}");
        let ends = ["disconnected", "stopped"];
        assert!(ends.contains(&line.text("kind")), "{line}");
        self.client.ask(Consume::Leave);
        process::until_fd_count(self.client.pid(), self.fds);
        let mut control = self.driver.control(self.client.pid());
        until("it has unmapped all", || {
            let alive = control.alive();
            ["mappings", "handles", "opened", "reservations"]
                .iter()
                .all(|kind| alive.number(kind) == 0)
        });
    }
}

#[test]
fn a_producer_dies_at_any_instruction() {
    let driver = slow();
    for stretch in ["acquire", "publish", "discard", "flush", "close"] {
        let mut heir = Heir::new();
        let start = |heir: &Heir| victim(&heir.place, &driver, "stepped-producer", stretch);
        let mut first = heir.joins(start);
        let measured = first.measure();
        first.kill();
        heir.survives();
        let points = measured.tried_of(POINTS);
        let mut reached = 0;
        for &point in &points {
            let mut victim = heir.joins(start);
            reached += usize::from(victim.run_to(point));
            victim.kill();
            heir.survives();
        }
        judge(stretch, &points, reached);
    }
}

#[test]
fn a_producer_dies_at_any_instruction_before_it_has_clients() {
    let (driver, mut heir) = (slow(), Heir::new());
    let start = |heir: &Heir| victim(&heir.place, &driver, "stepped-producer", "open");
    let measured = start(&heir).measure();
    let points = measured.tried_of(POINTS);
    let mut reached = 0;
    for &point in &points {
        let mut victim = start(&heir);
        reached += usize::from(victim.run_to(point));
        victim.kill();
        // The next producer takes its place.
        let mut next = heir.joins(|heir| producer(&heir.place, &heir.driver, ""));
        next.ask(Produce::Publish(SIZE, 0));
        next.end();
        heir.survives();
    }
    judge("open", &points, reached);
}

#[test]
fn producers_killed_at_random_moments_leave_whole_frames() {
    let (mut heir, driver, mut random) = (Heir::new(), slow(), Random::new());
    for round in 0..rounds(20) {
        // By descriptors, and by handles.
        let driver = if round % 2 == 0 {
            &driver
        } else {
            &slow().with("FAKECUDA_ATTR", "102:0")
        };
        let mut victim = heir.joins(|heir| producer(&heir.place, driver, ""));
        victim.order(Produce::Run(SIZE, 1000));
        std::thread::sleep(Duration::from_micros(random.number() % 150_000));
        victim.kill();
        heir.survives();
    }
}
