//! The queue, with items that wait for no work: those need no device.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

enum Item {
    /// Says that it is being completed, and waits for a word.
    Slow(Sender<()>, Receiver<()>),
    /// Tells what a wait comes to on the thread that completes it.
    Waits(Sender<Idle>),
    Named(&'static str),
}

#[derive(Default)]
struct Queue {
    completions: Completions<Item>,
    completed: Mutex<Vec<&'static str>>,
}

impl Owner for Queue {
    type Item = Item;

    fn completions(&self) -> &Completions<Item> {
        &self.completions
    }

    fn complete(&self, item: Item, _work: std::result::Result<(), CudaError>) {
        match item {
            Item::Slow(begun, go_on) => {
                begun.send(()).unwrap();
                go_on.recv().unwrap();
            }
            Item::Waits(waited) => waited.send(self.completions.wait_idle(LONG)).unwrap(),
            Item::Named(name) => self.completed.lock().unwrap().push(name),
        }
    }
}

impl Queue {
    fn queue(self: &Arc<Self>, item: Item) {
        assert!(queue(self, None, item).is_ok());
    }

    /// An item that is being completed until a word is sent.
    fn begin_slow(self: &Arc<Self>) -> Sender<()> {
        let (begun, has_begun) = channel();
        let (go_on, goes_on) = channel();
        self.queue(Item::Slow(begun, goes_on));
        has_begun.recv_timeout(LONG).unwrap();
        go_on
    }

    fn completed(&self) -> Vec<&'static str> {
        self.completed.lock().unwrap().clone()
    }
}

/// Ends the threads of a queue, which hold it.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.completions.close();
    }
}

fn new() -> Closing {
    Closing(Arc::default())
}

#[test]
fn a_wait_ends_when_all_is_completed_or_with_its_time() {
    let Closing(queue) = &new();
    assert_eq!(queue.completions.wait_idle(Duration::ZERO), Idle::Now);
    let go_on = queue.begin_slow();
    queue.queue(Item::Named("next"));
    assert_eq!(queue.completions.len(), 2);
    let short = Duration::from_millis(5);
    assert_eq!(queue.completions.wait_idle(short), Idle::TimedOut);
    go_on.send(()).unwrap();
    assert_eq!(queue.completions.wait_idle(LONG), Idle::Now);
    assert_eq!(queue.completed(), ["next"]);
}

#[test]
fn the_thread_that_completes_items_does_not_wait_for_itself() {
    let Closing(queue) = &new();
    let (tell, told) = channel();
    queue.queue(Item::Waits(tell.clone()));
    assert_eq!(told.recv_timeout(LONG), Ok(Idle::Now));
    let go_on = queue.begin_slow();
    queue.queue(Item::Waits(tell));
    queue.queue(Item::Named("behind"));
    go_on.send(()).unwrap();
    assert_eq!(told.recv_timeout(LONG), Ok(Idle::Never));
    assert_eq!(queue.completions.wait_idle(LONG), Idle::Now);
    assert_eq!(queue.completed(), ["behind"]);
}

#[test]
fn items_that_are_given_up_hold_up_no_others_but_the_one_that_is_completed_does() {
    let Closing(queue) = &new();
    let go_on = queue.begin_slow();
    for name in ["one", "given up", "two"] {
        queue.queue(Item::Named(name));
    }
    let is_given_up = |item: &Item| matches!(item, Item::Named("given up"));
    let rename = |item: &mut Item| *item = Item::Named("was given up");
    replace(queue, is_given_up, rename).unwrap();
    queue.queue(Item::Named("three"));
    assert_eq!(queue.completions.len(), 5);
    // The other thread waits for the item that was taken out before.
    let short = Duration::from_millis(20);
    assert_eq!(queue.completions.wait_idle(short), Idle::TimedOut);
    assert!(queue.completed().is_empty());
    go_on.send(()).unwrap();
    assert_eq!(queue.completions.wait_idle(LONG), Idle::Now);
    let deadline = Instant::now() + LONG;
    while queue.completions.len() > 0 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    let (given_up, others): (Vec<_>, Vec<_>) = queue
        .completed()
        .into_iter()
        .partition(|name| *name == "was given up");
    assert_eq!(given_up.len(), 1);
    assert_eq!(others, ["one", "two", "three"]);
}

#[test]
fn nothing_changes_if_no_item_is_given_up() {
    let Closing(queue) = &new();
    let go_on = queue.begin_slow();
    queue.queue(Item::Named("one"));
    replace(queue, |_| false, |_| unreachable!()).unwrap();
    assert_eq!(queue.completions.lock().generation, 0);
    go_on.send(()).unwrap();
    assert_eq!(queue.completions.wait_idle(LONG), Idle::Now);
    assert_eq!(queue.completed(), ["one"]);
}
