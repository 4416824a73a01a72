//! A client's process: a pipeline that is played, and what is seen at its ends.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use rustix::process::{Resource, Rlimit, setrlimit};
use xmem_tests::roles::parent::{self, tell};
use xmem_tests::roles::{self, Result, pipeline};

use crate::figures::Figures;
use crate::judge::BROKEN;
use crate::picture::Reference;
use crate::problems;
use crate::sink_watch::{Look, SinkWatch};
use crate::source_watch::SourceWatch;
use crate::webrtc;

/// The size of the pictures that are compared.
const PICTURE: (usize, usize) = (320, 240);

/// How long a stream is interrupted: as long as it takes to replace a producer, more or less.
const HOLE: Duration = Duration::from_millis(200);

/// How long a pipeline may take to play again after a pause.
const SETTLING: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// How much memory of its own a client may have, in bytes.
const MEMORY: u64 = 2 << 30;

/// How long the end of the stream may take to reach the sinks.
const EOS_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a client until its standard input ends. The pads of the elements `sources` are its ends on one side, all sinks
/// are those on the other. `look` says what is looked at in what arrives at the sinks whose names begin with `out`.
///
/// | order | what is done, and reported |
/// |---|---|
/// | `play` | the pipeline is made and played: `playing` |
/// | `report` | [`Figures`] since the last mark: `figures` |
/// | `mark` | what comes from now on is counted by itself: `marked` |
/// | `switch` | as `mark`, and each source is set to the channel of its name and a `2`: `switched` |
/// | `interrupt` | valves let nothing pass for a while: `interrupted` |
/// | `pause` | the pipeline is paused and played again: `paused` |
/// | `flush` | each source is flushed: `flushed` |
/// | `eos` | the stream is ended, and its end awaited at the sinks: `ended` |
/// | `stop` | the pipeline is stopped; the next order is `play`: `stopped` |
pub fn main(look: &str, sources: &str, description: &str) -> Result<()> {
    problems::collect();
    // Elements that fill gaps of a stream may find one of centuries.
    let most = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::Data, most)?;
    gst::init()?;
    let look = match look {
        "pictures" => Look::Pictures(Arc::new(Reference::draw(PICTURE.0, PICTURE.1)?)),
        "sound" => Look::Sound,
        _ => Look::Arrival,
    };
    let mut run = None;
    for order in parent::orders() {
        if order == "play" {
            let started = Run::start(&look, sources, description);
            run = Some(started.map_err(|error| format!("{BROKEN}: {error}"))?);
            continue;
        }
        let played = run.as_mut().ok_or("an order before \"play\"")?;
        match order.as_str() {
            "report" => tell("figures", played.figures().to_line()),
            "mark" => {
                played.mark();
                tell("marked", "");
            }
            "switch" => {
                played.mark();
                for source in &played.sources {
                    if let Some(element) = played.pipeline.by_name(&source.name) {
                        let channel = format!("{}2", source.name);
                        element.set_property("channel", channel);
                    }
                }
                tell("switched", "");
            }
            "interrupt" => {
                let set = |drop: bool| {
                    let valves = played.pipeline.iterate_all_by_element_factory_name("valve");
                    let valves = valves.into_iter().flatten();
                    valves.for_each(|valve| valve.set_property("drop", drop));
                };
                set(true);
                std::thread::sleep(HOLE);
                set(false);
                tell("interrupted", "");
            }
            "pause" => {
                for state in [gst::State::Paused, gst::State::Playing] {
                    if played.pipeline.set_state(state).is_err() {
                        problems::add(format!("it does not go to {state:?}"));
                    }
                    if state == gst::State::Paused {
                        played.sources.iter().for_each(|source| source.pause());
                    }
                }
                // An event that is sent to a pipeline on its way to PLAYING can keep it from getting there, uncut as
                // well: both need the lock of its state.
                if played.pipeline.state(SETTLING).0.is_err() {
                    problems::add("it does not play after a pause".into());
                }
                tell("paused", "");
            }
            "flush" => {
                for source in &played.sources {
                    source.forget_time();
                    if let Some(element) = played.pipeline.by_name(&source.name) {
                        element.send_event(gst::event::FlushStart::new());
                        element.send_event(gst::event::FlushStop::new(true));
                    }
                }
                tell("flushed", "");
            }
            "eos" => {
                played.end_stream();
                tell("ended", "");
            }
            "stop" => {
                if let Some(run) = run.take() {
                    pipeline::stop(run.pipeline)?;
                }
                tell("stopped", "");
            }
            other => return Err(format!("there is no order {other:?}").into()),
        }
    }
    run.map_or(Ok(()), |run| pipeline::stop(run.pipeline))
}

/// A pipeline that was played.
struct Run {
    pipeline: gst::Pipeline,
    sources: Vec<Arc<SourceWatch>>,
    sinks: Arc<Mutex<Vec<Arc<SinkWatch>>>>,
    /// On `CLOCK_MONOTONIC`.
    marked_at: u64,
    missed_before: u64,
    early_before: u64,
    copied_before: u64,
    eos: Receiver<()>,
}

impl Run {
    fn start(look: &Look, sources: &str, description: &str) -> Result<Run> {
        let (ended, eos) = mpsc::channel();
        let (wanted, latency) = mpsc::channel();
        let pipeline = pipeline::launch(description, posted(ended, wanted))?;
        recalculate_latency(&pipeline, latency)?;
        webrtc::connect(&pipeline)?;
        let sources = sources
            .split(',')
            .map(|name| {
                let pad = pipeline::pad(&pipeline, name, "src")?;
                Ok(SourceWatch::start(name, &pad))
            })
            .collect::<Result<Vec<_>>>()?;
        let sinks = watch_sinks(&pipeline, look, &sources);
        let run = Run {
            pipeline,
            sources,
            sinks,
            marked_at: roles::monotonic_ns(),
            missed_before: 0,
            early_before: 0,
            copied_before: 0,
            eos,
        };
        if run.pipeline.set_state(gst::State::Playing).is_err() {
            problems::add("it does not play".into());
        }
        tell("playing", "");
        Ok(run)
    }

    fn sinks(&self) -> Vec<Arc<SinkWatch>> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.clone()
    }

    fn mark(&mut self) {
        self.missed_before = self.statistic("missed");
        self.early_before = self.statistic("early");
        self.copied_before = self.statistic("copied");
        self.marked_at = roles::monotonic_ns();
        self.sources.iter().for_each(|source| source.mark());
        self.sinks().iter().for_each(|sink| sink.mark());
    }

    /// A figure of the sources' statistics, summed; 0 where they have none of that name.
    fn statistic(&self, name: &str) -> u64 {
        let figures = self.sources.iter().map(|source| {
            let element = self.pipeline.by_name(&source.name)?;
            element.find_property("stats")?;
            let stats = element.property::<gst::Structure>("stats");
            stats.get::<u64>(name).ok()
        });
        figures.flatten().sum()
    }

    fn figures(&self) -> Figures {
        let seen: Vec<_> = self.sources.iter().map(|source| source.seen()).collect();
        let sinks = self.sinks();
        // Where sinks are named, the others are some element's own.
        let named = sinks.iter().any(|sink| sink.name.starts_with("out"));
        let sinks = sinks
            .iter()
            .filter(|sink| !named || sink.name.starts_with("out"));
        let arrived: Vec<_> = sinks.map(|sink| sink.seen()).collect();
        // An element may open sinks of its own that get nothing, so the first of them that does counts.
        let first_out = arrived.iter().map(|sink| sink.first_at);
        let first_out = match named {
            true => first_out
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().max()),
            false => Some(first_out.flatten().min()),
        };
        let outs = arrived.iter().map(|sink| sink.buffers);
        let after = |at: u64| at.saturating_sub(self.marked_at) / 1_000_000;
        let missed = self.statistic("missed").saturating_sub(self.missed_before);
        // Pictures that were over before the pipeline has started are not shown.
        let early = self.statistic("early").saturating_sub(self.early_before);
        let not_there: u64 = seen.iter().map(|seen| seen.missed).sum();
        Figures {
            ins: seen.iter().map(|seen| seen.buffers).collect(),
            outs: match named {
                true => outs.collect(),
                false => vec![outs.sum()],
            },
            missed: missed.max(not_there.saturating_sub(early)),
            copied: self.statistic("copied").saturating_sub(self.copied_before),
            first_running: seen.iter().filter_map(|seen| seen.first_running).min(),
            least_running: seen.iter().filter_map(|seen| seen.least_running).min(),
            below_zero: seen.iter().map(|seen| seen.below_zero).sum(),
            backwards: seen.iter().map(|seen| seen.backwards).sum(),
            segments: seen.iter().map(|seen| seen.segments).max().unwrap_or(0),
            first_in: seen
                .iter()
                .filter_map(|seen| seen.first_at)
                .max()
                .map(after),
            first_out: first_out.flatten().map(after),
            looked_at: arrived.iter().map(|sink| sink.looked_at).sum(),
            wrong: arrived.iter().map(|sink| sink.wrong).sum(),
            first_wrong: arrived.iter().find_map(|sink| sink.first_wrong.clone()),
            lag: arrived.iter().map(|sink| sink.lag).max().unwrap_or(0),
            problems: problems::take(),
        }
    }

    fn end_stream(&mut self) {
        self.pipeline.send_event(gst::event::Eos::new());
        if self.eos.recv_timeout(EOS_PATIENCE).is_err() {
            problems::add("the end of the stream does not reach the sinks".into());
        }
    }
}

/// What is done with a message of the bus, in the thread that posts it.
fn posted(ended: Sender<()>, wanted: Sender<()>) -> impl Fn(&gst::Message) + Send + Sync + 'static {
    move |message| {
        problems::see(message);
        // Nobody waits any more when the run is over.
        let _ = match message.view() {
            gst::MessageView::Eos(_) => ended.send(()),
            gst::MessageView::Latency(_) => wanted.send(()),
            _ => Ok(()),
        };
    }
}

/// Does what every application does when an element's latency has changed. A thread that streams can't: it would wait
/// for itself.
fn recalculate_latency(pipeline: &gst::Pipeline, wanted: Receiver<()>) -> Result<()> {
    let pipeline = pipeline.downgrade();
    let thread = std::thread::Builder::new().name("latency".into());
    thread.spawn(move || {
        while wanted.recv().is_ok() {
            let Some(pipeline) = pipeline.upgrade() else {
                return;
            };
            // Where an element has just been taken out, it can't be done, and is asked for again.
            let _ = pipeline.recalculate_latency();
        }
    })?;
    Ok(())
}

/// Watches all sinks that there are, and those that will be added.
fn watch_sinks(
    pipeline: &gst::Pipeline,
    look: &Look,
    sources: &[Arc<SourceWatch>],
) -> Arc<Mutex<Vec<Arc<SinkWatch>>>> {
    let watches = Arc::new(Mutex::new(Vec::new()));
    let (look, sources, kept) = (look.clone(), sources.to_vec(), watches.clone());
    let watch = move |element: &gst::Element| {
        let is_sink = element.element_flags().contains(gst::ElementFlags::SINK);
        if !is_sink || element.is::<gst::Bin>() {
            return;
        }
        let Some(pad) = element.static_pad("sink") else {
            return;
        };
        let name = element.name().to_string();
        let look = match name.starts_with("out") {
            true => look.clone(),
            false => Look::Arrival,
        };
        let watch = SinkWatch::start(name, &pad, look, sources.clone());
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(watch);
    };
    pipeline
        .iterate_recurse()
        .into_iter()
        .flatten()
        .for_each(|element| watch(&element));
    pipeline.connect_deep_element_added(move |_, _, element| watch(element));
    watches
}
