//! Whatever path an element takes through its states, with a peer and without: it gets there,
//! leaves nothing behind, and GLib prints no warning.

use xmem_tests::pipeline::{Order, PICTURES, Pipeline, State};
use xmem_tests::random::Random;
use xmem_tests::{Place, remains, until};

const FOR_EVER: &str = "connection-timeout=18446744073709551615";
const STATES: [State; 4] = [State::Null, State::Ready, State::Paused, State::Playing];
/// The maximum number of state changes in the paths that are all tried, without the last change to
/// NULL.
const LONGEST: usize = 4;
/// The number of longer paths that are tried.
const RANDOM: usize = 900;
const LONGEST_RANDOM: u64 = 12;

/// All paths from NULL with at most that many changes, and a change to NULL at the end.
fn all_paths() -> Vec<Vec<State>> {
    let mut paths = vec![vec![State::Null]];
    let mut start = 0;
    for _ in 0..LONGEST {
        let end = paths.len();
        for path in start..end {
            let here = *paths[path].last().expect("a path has a start");
            for next in STATES.into_iter().filter(|next| *next != here) {
                let longer = paths[path].iter().copied().chain([next]).collect();
                paths.push(longer);
            }
        }
        start = end;
    }
    paths.into_iter().skip(1).map(to_null).collect()
}

/// Longer random paths.
fn random_paths() -> Vec<Vec<State>> {
    let mut random = Random::new();
    let mut below = |most: u64| random.number() % most;
    let path = |_| {
        let length = LONGEST as u64 + 1 + below(LONGEST_RANDOM - LONGEST as u64);
        // A change to the same state is a change too.
        let states = (0..length).map(|_| STATES[below(4) as usize]);
        to_null(states.collect())
    };
    (0..RANDOM).map(path).collect()
}

fn to_null(mut path: Vec<State>) -> Vec<State> {
    path.push(State::Null);
    path
}

/// A pipeline in a process that ends with the first warning of GLib or GStreamer.
fn strict(place: &Place, description: &str) -> Pipeline {
    Pipeline::start_as(place, &[], description, |mut command| {
        command.env("G_DEBUG", "fatal-warnings");
        command
    })
}

fn walk(pipeline: &mut Pipeline, paths: &[Vec<State>], how: How) {
    // Some at a time: each order has the whole timeout of a test.
    for paths in paths.chunks(25) {
        let walked = pipeline.order(Order::Walk {
            of: how.of.map(str::to_owned),
            paths: paths.to_vec(),
            settle: how.settle,
        });
        assert_eq!(walked.text("result"), "Success");
    }
}

/// Tries all paths: without waiting at each state and, if each state can be reached, with waiting.
fn walks_leave_nothing_behind(place: &Place, mut pipeline: Pipeline, hows: &[How]) -> Pipeline {
    let all = all_paths();
    assert_eq!(all.len(), 3 + 9 + 27 + 81);
    for how in hows {
        walk(&mut pipeline, &all[..39], *how);
    }
    let files = place.files();
    remains::none_of(&mut pipeline, |pipeline| {
        for how in hows {
            walk(pipeline, &all, *how);
        }
        walk(pipeline, &random_paths(), hows[0]);
    });
    assert_eq!(place.files(), files);
    assert!(place.new_in_shm().is_empty(), "{:?}", place.new_in_shm());
    pipeline
}

/// Which element is walked, if not the pipeline, and whether each change is complete before the
/// next.
#[derive(Clone, Copy)]
struct How {
    of: Option<&'static str>,
    settle: bool,
}

const AT_ONCE: How = How {
    of: None,
    settle: false,
};
const EACH: How = How {
    of: None,
    settle: true,
};

#[test]
fn a_sink_without_a_client() {
    let place = Place::new();
    let sink = strict(&place, &format!("{PICTURES} ! xmemsink channel=cam0"));
    walks_leave_nothing_behind(&place, sink, &[AT_ONCE, EACH]).end();
}

#[test]
fn a_sink_that_waits_for_a_client_that_does_not_come() {
    let place = Place::new();
    let sink = format!("{PICTURES} ! xmemsink channel=cam0 wait-for-connection=true sync=false");
    let sink = strict(&place, &sink);
    walks_leave_nothing_behind(&place, sink, &[AT_ONCE]).end();
}

#[test]
fn a_sink_whose_client_stays() {
    let place = Place::new();
    let client = format!("xmemsrc name=src channel=cam0 on-disconnect=reconnect {FOR_EVER}");
    let mut client = strict(&place, &format!("{client} ! fakesink name=out"));
    client.change(State::Playing);
    let sink = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let sink = strict(&place, &sink);
    let mut sink = walks_leave_nothing_behind(&place, sink, &[AT_ONCE, EACH]);
    let received = client.stats("src").number("received");
    sink.change(State::Playing);
    until("the client receives", || {
        client.stats("src").number("received") > received
    });
    sink.end();
    assert!(client.messages().is_empty(), "{:?}", client.messages());
    client.end();
}

#[test]
fn a_source_without_a_producer() {
    let place = Place::new();
    let source = format!("xmemsrc channel=cam0 {FOR_EVER} ! fakesink");
    let source = strict(&place, &source);
    walks_leave_nothing_behind(&place, source, &[AT_ONCE]).end();
}

#[test]
fn a_source_whose_producer_stays() {
    let place = Place::new();
    let producer = format!("{PICTURES},framerate=200/1 ! xmemsink name=sink channel=cam0");
    let mut producer = strict(&place, &producer);
    producer.change(State::Playing);
    let source = format!("xmemsrc channel=cam0 {FOR_EVER} ! fakesink");
    let source = strict(&place, &source);
    walks_leave_nothing_behind(&place, source, &[AT_ONCE, EACH]).end();
    producer.until_stats("sink", "the source is gone", |stats| {
        stats.number("clients") == 0
    });
    assert!(producer.messages().is_empty(), "{:?}", producer.messages());
    producer.end();
}

#[test]
fn sink_and_source_in_one_process() {
    let place = Place::new();
    let both = format!(
        "{PICTURES} ! xmemsink channel=cam0 async=false xmemsrc channel=cam0 {FOR_EVER} ! fakesink"
    );
    let both = strict(&place, &both);
    walks_leave_nothing_behind(&place, both, &[AT_ONCE]).end();
}

#[test]
fn elements_that_are_linked_with_nothing() {
    let place = Place::new();
    let both = format!(
        "xmemsink name=sink channel=cam0 async=false xmemsrc name=src channel=cam0 {FOR_EVER}"
    );
    let mut both = strict(&place, &both);
    // Without a peer, the thread of a source ends at its first buffer, because there is no
    // producer.
    for element in ["sink", "src"] {
        let hows = [AT_ONCE, EACH].map(|how| How {
            of: Some(element),
            ..how
        });
        both = walks_leave_nothing_behind(&place, both, &hows);
    }
    both.end();
}

#[test]
fn elements_that_can_not_start() {
    let place = Place::new();
    let mut owner = strict(&place, "appsrc ! xmemsink channel=cam0");
    owner.change(State::Ready);
    // In use by another process; without a channel; with two channels at once.
    let mut pipeline = strict(
        &place,
        "xmemsink name=used channel=cam0 xmemsink name=none xmemsrc name=nothing \
         xmemsrc name=two channel=cam0 socket-path=/tmp/two.sock",
    );
    let fail = |pipeline: &mut Pipeline, times: u32| {
        for _ in 0..times {
            for element in ["used", "none", "nothing", "two"] {
                for target in [State::Ready, State::Playing, State::Null] {
                    let changed = pipeline.order(Order::state_of(element, target));
                    let failed = changed.text("result") == "Failure";
                    assert_eq!(
                        failed,
                        target != State::Null,
                        "{element} to {target:?}: {changed}"
                    );
                }
            }
        }
    };
    fail(&mut pipeline, 5);
    let fds = xmem_tests::process::fd_count(pipeline.pid());
    fail(&mut pipeline, 125);
    xmem_tests::process::until_fd_count(pipeline.pid(), fds);
    assert_eq!(place.files(), ["cam0.sock"]);
    pipeline.end();
}
